//! What tells one request from all others.

use super::roles::Telling;
use super::rows::{Mark, Serves};
use crate::python::{Local, Locals};
use crate::units::RemoteAddress;

/// What tells one request from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The object that stands for it.
    pub(super) request: RemoteAddress,
    marked: Marked,
    /// The number of the piece of work that serves it, where that is known.
    work: Option<u64>,
}

/// What a [`Mark`] was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Marked {
    /// The `datetime`, and the ten bytes of its moment.
    Moment(RemoteAddress, [u8; 10]),
    /// The `float`'s bytes.
    Seconds([u8; 8]),
    Print(u64),
}

/// `data` of `PyDateTime_DateTime` (`Include/datetime.h`): behind the object's head, the
/// hash and one byte. The same from 3.8 to 3.15.
const DATETIME_DATA: u64 = 9;

/// `ob_fval` of `PyFloatObject` is the first behind the head.
const FLOAT_VALUE: u64 = 0;

impl Telling<Serves> {
    /// The request that the frame served when it was read, or with `now` the one that it
    /// serves now. `None` as long as the server has not come so far as to mark it.
    pub(super) fn key(&self, reader: &mut Locals<'_>, work: Option<u64>, now: bool) -> Option<Key> {
        let request = self.object(reader, 0, now)?;
        let marked = match self.row.mark {
            Mark::Moment(_) => {
                let started = self.object(reader, 1, now)?;
                Marked::Moment(started, reader.field(started, DATETIME_DATA)?)
            }
            Mark::Seconds(_) => {
                let started = self.object(reader, 1, now)?;
                Marked::Seconds(reader.field(started, FLOAT_VALUE)?)
            }
            Mark::Own => Marked::Print(reader.print_of([Some(request)])?),
            Mark::Carried => {
                let (carrier, _) = self.row.carrier?;
                let dict = self.object(reader, 5, now)?;
                let items = reader.dict_items(dict, carrier.marks())?;
                Marked::Print(reader.print_of(items)?)
            }
            Mark::Named => {
                // Its name and, where it has one, its method.
                let named = [3, 2].map(|place| self.object(reader, place, now));
                let [name, method] = named;
                Marked::Print(reader.print_of([Some(request), name, method])?)
            }
            Mark::Attributes(names) => {
                let values = names.map(|name| reader.attribute(request, name));
                Marked::Print(reader.print_of(values)?)
            }
        };
        Some(Key { request, marked, work })
    }

    /// The object at one of the row's places.
    pub(super) fn object(
        &self,
        reader: &mut Locals<'_>,
        place: usize,
        now: bool,
    ) -> Option<RemoteAddress> {
        let steps = self.row.places()[place]?.steps;
        object(reader, self, self.slots[place]?, steps, now)
    }
}

/// Where the steps from a local of a telling frame lead.
pub(super) fn object<Row>(
    reader: &mut Locals<'_>,
    telling: &Telling<Row>,
    local: Local,
    steps: &[crate::python::Step],
    now: bool,
) -> Option<RemoteAddress> {
    let object = reader.object(&telling.frame, local, now)?;
    reader.follow(object, steps)
}

impl Key {
    /// The moment in microseconds since 1970, taken as if it were in UTC
    /// (`PyDateTime_GET_*` in `Include/datetime.h`); `None` if it is no date.
    pub(super) fn noted(&self) -> Option<i64> {
        let Marked::Moment(_, moment) = self.marked else { return None };
        let [year, of_year, month, day, hour, minute, second, micros @ ..] = moment;
        let year = i64::from(u16::from_be_bytes([year, of_year]));
        let is_date = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let [high, middle, low] = micros;
        let micros = i64::from(u32::from_be_bytes([0, high, middle, low]));
        (is_date && micros < 1_000_000).then(|| {
            let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
            (days_since_1970(year, month, day) * 86_400 + of_day) * 1_000_000 + micros
        })
    }
}

/// Days from the first of January 1970 to a day of the Gregorian calendar, counted from the
/// first of March of the year 0, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(moment: [u8; 10]) -> Key {
        let nowhere = RemoteAddress::NULL;
        Key { request: nowhere, marked: Marked::Moment(nowhere, moment), work: None }
    }

    #[test]
    fn a_noted_moment_is_what_python_says_of_it() {
        // datetime(Y, M, D, h, m, s, us, tzinfo=utc).timestamp(), as Python computes it.
        for (moment, micros) in [
            ([7, 178, 1, 1, 0, 0, 0, 0, 0, 0], 0),
            ([7, 234, 11, 21, 19, 53, 24, 1, 226, 64], 1_795_290_804_123_456),
            ([7, 208, 2, 29, 23, 59, 59, 15, 66, 63], 951_868_799_999_999),
            ([7, 232, 3, 1, 0, 0, 0, 0, 0, 1], 1_709_251_200_000_001),
            ([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], -62_135_596_800_000_000),
        ] {
            assert_eq!(key(moment).noted(), Some(micros), "{moment:?}");
        }
        for impossible in [[0; 10], [255; 10], [7, 234, 13, 1, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(key(impossible).noted(), None);
        }
    }
}

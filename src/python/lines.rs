//! From an instruction's place in a code object to the line it came from.
//!
//! Three formats have been in use; [`LineTable`] says which one a version has. The
//! decoders agree with `PyCode_Addr2Line` of each version. The bytes are a target's,
//! so a table may end anywhere and a line may come out as nonsense, but no more.

use super::layout::LineTable;

/// The line of the instruction at `offset` bytes, or `None` for an instruction that
/// belongs to no line. An offset before the first instruction (a frame that has not
/// started) is on the function's first line.
pub(crate) fn line_at(
    format: LineTable,
    table: &[u8],
    first_line: u32,
    offset: i64,
) -> Option<u32> {
    let Ok(offset) = u64::try_from(offset) else { return Some(first_line) };
    let line = match format {
        LineTable::Lnotab => Some(lnotab(table, first_line, offset)),
        LineTable::Pep626 => pep626(table, first_line, offset),
        LineTable::Locations => locations(table, first_line, offset),
    };
    line.and_then(|line| u32::try_from(line).ok()).filter(|&line| line > 0)
}

/// Pairs of an address increment and a signed line increment; a pair whose address lies
/// beyond the instruction ends the search (`Objects/lnotab_notes.txt`).
fn lnotab(table: &[u8], first_line: u32, offset: u64) -> i64 {
    let mut line = i64::from(first_line);
    let mut address = 0_u64;
    for pair in table.chunks_exact(2) {
        let &[advance, step] = pair else { break };
        address = address.saturating_add(u64::from(advance));
        if address > offset {
            break;
        }
        line = line.saturating_add(i64::from(step.cast_signed()));
    }
    line
}

/// Pairs of a range's length in bytes and a signed line increment that holds for that
/// range, -128 marking a range without a line (PEP 626).
fn pep626(table: &[u8], first_line: u32, offset: u64) -> Option<i64> {
    const NO_LINE: i8 = -128;
    let mut line = i64::from(first_line);
    let mut end = 0_u64;
    for pair in table.chunks_exact(2) {
        let &[length, step] = pair else { break };
        let step = step.cast_signed();
        if step != NO_LINE {
            line = line.saturating_add(i64::from(step));
        }
        end = end.saturating_add(u64::from(length));
        if offset < end {
            return (step != NO_LINE).then_some(line);
        }
    }
    None
}

/// Entries of a code, a length in code units of two bytes, and what that code brings
/// with it (`Objects/locations.md`, 3.14: `InternalDocs/code_objects.md`).
fn locations(table: &[u8], first_line: u32, offset: u64) -> Option<i64> {
    let mut line = i64::from(first_line);
    let mut end = 0_u64;
    let mut bytes = table.iter().copied().peekable();
    while let Some(head) = bytes.next() {
        let code = head >> 3 & 15;
        let length = u64::from(head & 7).saturating_add(1).saturating_mul(2);
        let step = match code {
            // Short forms: one or two bytes of columns follow.
            0..=9 => {
                bytes.next();
                Some(0)
            }
            10..=12 => {
                bytes.next();
                bytes.next();
                Some(i64::from(code).saturating_sub(10))
            }
            // No columns.
            13 => Some(signed_varint(&mut bytes)),
            // Long form: end line, column and end column follow.
            14 => {
                let step = signed_varint(&mut bytes);
                for _ in 0..3 {
                    varint(&mut bytes);
                }
                Some(step)
            }
            _ => None,
        };
        line = line.saturating_add(step.unwrap_or(0));
        end = end.saturating_add(length);
        if offset < end {
            return step.map(|_| line);
        }
    }
    None
}

/// Six bits a byte, lowest first; bit 6 says that more follow.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let mut value = 0_u64;
    for shift in (0..60).step_by(6) {
        let Some(byte) = bytes.next() else { break };
        value |= u64::from(byte & 63) << shift;
        if byte & 64 == 0 {
            break;
        }
    }
    value
}

/// A varint whose lowest bit is the sign.
fn signed_varint(bytes: &mut impl Iterator<Item = u8>) -> i64 {
    let value = varint(bytes);
    let magnitude = i64::try_from(value >> 1).unwrap_or(0);
    if value & 1 == 1 { magnitude.saturating_neg() } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `def f(a):` on line 10, `b = a` on 11, `return b` on 14.
    #[test]
    fn each_format_gives_the_lines_that_its_compiler_wrote() {
        // 3.8: code bytes 0..4 line 11, 4..8 line 14.
        let lnotab = [0, 1, 4, 3];
        let of = |offset| line_at(LineTable::Lnotab, &lnotab, 10, offset);
        assert_eq!([of(-1), of(0), of(2), of(4), of(6)], [10, 11, 11, 14, 14].map(Some));
        // 3.10: the same, and an instruction without a line at 8.
        let pep626 = [4, 1, 4, 3, 2, 128];
        let of = |offset| line_at(LineTable::Pep626, &pep626, 10, offset);
        assert_eq!([of(-2), of(0), of(2), of(4), of(6)], [10, 11, 11, 14, 14].map(Some));
        assert_eq!([of(8), of(10)], [None, None]);
        // 3.11: RESUME on 10 (one unit), two units on 11, a long entry on 14, none.
        let locations = [
            0x80 | 1 << 3,
            0, // code 1, one unit, no step
            0x80 | 11 << 3 | 1,
            0,
            0, // code 11: one line on, two units
            0x80 | 14 << 3,
            6,
            0,
            1,
            1,              // code 14: three lines on, one unit
            0x80 | 15 << 3, // no line, one unit
            0x80 | 13 << 3,
            7, // code 13: three lines back
        ];
        let of = |offset| line_at(LineTable::Locations, &locations, 10, offset);
        assert_eq!([of(-2), of(0), of(2), of(4), of(6)], [10, 10, 11, 11, 14].map(Some));
        assert_eq!([of(8), of(10), of(12)], [None, Some(11), None]);
    }

    #[test]
    fn any_bytes_are_survived() {
        for format in [LineTable::Lnotab, LineTable::Pep626, LineTable::Locations] {
            for seed in 0..=255_u8 {
                let table: Vec<u8> = (0..64_u8)
                    .map(|index| index.wrapping_mul(seed) ^ seed.rotate_left(3))
                    .collect();
                for end in 0..table.len() {
                    line_at(format, &table[..end], u32::MAX, 1000);
                }
            }
        }
    }
}

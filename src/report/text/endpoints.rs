//! Where the time goes, by endpoint: how many requests a second it has and how long they take,
//! a column for each state, and for the peers that most time was waited for one each.

use anstyle::AnsiColor;

use super::{BOLD, DIM, Page, ROWS, requests};
use crate::analysis::{EndpointRow, Summary};
use crate::model::State;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table, cut};

/// The share columns besides those of the peers: a title, its colour, and what it adds.
pub(super) const SHARES: [(&str, AnsiColor, &[State]); 7] = [
    ("CPU", AnsiColor::Green, &[State::Running]),
    ("NO CPU", AnsiColor::BrightYellow, &[State::Runnable]),
    ("GIL", AnsiColor::Red, &[State::GilWait]),
    ("I/O", AnsiColor::Blue, &[State::Io]),
    ("LOCK", AnsiColor::Yellow, &[State::Lock]),
    ("SLEEP", AnsiColor::Cyan, &[State::Sleep]),
    ("OTHER", AnsiColor::Magenta, &[State::Unknown]),
];

/// How many peers have a column of their own at the most.
const PEERS: usize = 3;
/// How long a peer's title is at the most.
const LONGEST_PEER: usize = 10;
/// What the columns take that are always there.
const ALWAYS: usize = " 123.4 s 12.3%".len();
/// How much of an endpoint's name is kept before peers get columns.
const ENDPOINT_WIDTH: usize = 20;

/// A column of shares.
struct Share<'a> {
    title: String,
    colour: AnsiColor,
    of: Of<'a>,
}

/// What a column adds.
enum Of<'a> {
    States(&'a [State]),
    /// Waits for this kind of peer.
    Peer(&'a str),
    /// Waits for all but these.
    OtherPeers(&'a [&'a str]),
}

impl Share<'_> {
    fn seconds(&self, row: &EndpointRow) -> f64 {
        let waited = |wanted: &dyn Fn(&str) -> bool| -> f64 {
            let peers = row.waits.iter().filter(|wait| wait.state == State::Io.name());
            let named = peers.filter_map(|wait| Some((peer_kind(wait.on.as_deref()?)?, wait)));
            named.filter(|(kind, _)| wanted(kind)).map(|(_, wait)| wait.seconds).sum()
        };
        match &self.of {
            Of::States(states) => states.iter().map(|&state| row.states.seconds(state)).sum(),
            Of::Peer(peer) => waited(&|kind| kind == *peer),
            Of::OtherPeers(named) => {
                (row.states.seconds(State::Io) - waited(&|kind| named.contains(&kind))).max(0.0)
            }
        }
    }
}

impl Page<'_> {
    pub(super) fn endpoints(&mut self, summary: &Summary) {
        let busy: Vec<_> = summary.endpoints.iter().filter(|row| row.seconds > 0.0).collect();
        let rows = &busy[..busy.len().min(ROWS)];
        let kinds = peer_kinds(rows);
        let has_requests = rows.iter().any(|row| row.requests_per_s.is_some());
        let fits = |columns: &[Share<'_>], more: usize| {
            let wide = |share: &Share<'_>| share.title.chars().count().max(4) + 1;
            let taken: usize = columns.iter().map(wide).sum();
            self.text.width.saturating_sub(taken + ALWAYS + more) >= ENDPOINT_WIDTH
        };
        // The kind of peer that is waited for most is worth more than columns for requests,
        // which can have a table of their own.
        let least = kinds.len().min(1);
        let with_requests = (least..=kinds.len().min(PEERS)).rev().filter(|_| has_requests);
        let with_requests = with_requests
            .map(|count| shares(rows, &kinds[..count]))
            .find(|columns| fits(columns, requests::WIDTH));
        let beside = with_requests.is_some();
        let columns = with_requests.unwrap_or_else(|| {
            let mut choices =
                (0..=kinds.len().min(PEERS)).rev().map(|count| shares(rows, &kinds[..count]));
            choices.find(|columns| fits(columns, 0)).unwrap_or_else(|| shares(rows, &[]))
        });
        let mut titles =
            vec![Column::filling("ENDPOINT"), Column::right("TIME"), Column::right("SHARE")];
        if beside {
            titles.extend(requests::TITLES.map(Column::right));
        }
        titles.extend(columns.iter().map(|share| Column::right(share.title.clone())));
        let mut table = Table::new(titles);
        for row in rows {
            table.row(endpoint_fields(row, &columns, beside));
        }
        self.table(&table, busy.len() - rows.len(), "endpoint");
        if has_requests && !beside {
            self.requests(summary);
        }
    }
}

/// The kind of a peer that has a name of its own: `postgresql` of `postgresql
/// 10.0.0.5:5432`. Pipes, clients and the like have none.
fn peer_kind(on: &str) -> Option<&str> {
    let (kind, rest) = on.split_once(' ')?;
    rest.contains([':', '/']).then_some(kind)
}

/// The kinds of peers, those that were waited for longest first.
fn peer_kinds<'a>(rows: &[&'a EndpointRow]) -> Vec<&'a str> {
    let mut kinds: Vec<(&str, f64)> = Vec::new();
    for wait in rows.iter().flat_map(|row| &row.waits) {
        let Some(kind) = wait.on.as_deref().and_then(peer_kind) else { continue };
        if wait.state != State::Io.name() {
            continue;
        }
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, seconds)) => *seconds += wait.seconds,
            None => kinds.push((kind, wait.seconds)),
        }
    }
    kinds.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    kinds.into_iter().map(|(kind, _)| kind).collect()
}

/// The columns that have anything in them, and that of CPU time in any case.
fn shares<'a>(rows: &[&EndpointRow], peers: &'a [&'a str]) -> Vec<Share<'a>> {
    let mut shares = Vec::new();
    for (title, colour, states) in SHARES {
        let title = title.to_owned();
        if states == [State::Io] {
            shares.extend(peers.iter().map(|peer| {
                let title = cut(&peer.to_uppercase(), LONGEST_PEER);
                Share { title, colour, of: Of::Peer(peer) }
            }));
            shares.push(Share { title, colour, of: Of::OtherPeers(peers) });
        } else {
            shares.push(Share { title, colour, of: Of::States(states) });
        }
    }
    let has_any = |share: &Share<'_>| rows.iter().any(|row| share.seconds(row) > 0.0005);
    shares.retain(|share| share.title == "CPU" || has_any(share));
    shares
}

fn endpoint_fields(row: &EndpointRow, columns: &[Share<'_>], beside: bool) -> Vec<Field> {
    let label = Field::new(&row.endpoint);
    let label = if row.method.is_none() { label.styled(DIM) } else { label };
    let mut fields = vec![
        label,
        Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
        Field::new(&numbers::share(row.share)),
    ];
    if beside {
        fields.extend(requests::fields(row));
    }
    let parts: Vec<_> =
        columns.iter().map(|share| (share.colour, share.seconds(row) / row.seconds)).collect();
    let most = parts.iter().map(|&(_, part)| part).fold(0.0, f64::max);
    fields.extend(parts.into_iter().map(|(colour, part)| {
        let style = colour.on_default();
        let style = if part == most { style.bold() } else { style };
        Field::new(&numbers::short_share(part)).styled(if part > 0.0 { style } else { DIM })
    }));
    fields
}

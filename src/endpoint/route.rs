//! From a raw path to a route: segments that name one thing among many are folded, so
//! that requests for different orders are one endpoint.

/// The longest route that is kept, in characters.
const LONGEST_ROUTE: usize = 200;

/// The path with numbers, UUIDs, hashes and the like replaced: `/orders/123` becomes
/// `/orders/{int}`. The query string, if there is one, is dropped.
pub(super) fn fold(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut route = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            route.push('/');
        }
        route.push_str(kind(segment).unwrap_or(segment));
        if let Some((end, _)) = route.char_indices().nth(LONGEST_ROUTE) {
            route.truncate(end);
            route.push('…');
            break;
        }
    }
    if route.is_empty() { "/".to_owned() } else { route }
}

/// What kind of identifier a segment is, if it is one.
fn kind(segment: &str) -> Option<&'static str> {
    /// The shortest run of hexadecimal digits that no word is: half of an MD5.
    const SHORTEST_HASH: usize = 16;
    /// The shortest mixture of letters and digits that no name of a page is.
    const SHORTEST_TOKEN: usize = 20;
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let number = segment.strip_prefix(['-', '+']).unwrap_or(segment);
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("{int}");
    }
    if is_uuid(bytes) {
        return Some("{uuid}");
    }
    if is_date(bytes) {
        return Some("{date}");
    }
    if bytes.len() >= SHORTEST_HASH && bytes.iter().all(u8::is_ascii_hexdigit) {
        return Some("{hash}");
    }
    if number.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some("{float}");
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~=%".contains(byte);
    (bytes.len() >= SHORTEST_TOKEN && digits >= 3 && bytes.iter().all(token)).then_some("{token}")
}

/// Eight, four, four, four and twelve hexadecimal digits (RFC 9562).
fn is_uuid(bytes: &[u8]) -> bool {
    let mut groups = bytes.split(|&byte| byte == b'-');
    [8, 4, 4, 4, 12].into_iter().all(|length| {
        groups
            .next()
            .is_some_and(|group| group.len() == length && group.iter().all(u8::is_ascii_hexdigit))
    }) && groups.next().is_none()
}

/// Year, month and day, as ISO 8601 writes them.
fn is_date(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|&byte| byte == b'-');
    [4, 2, 2].into_iter().all(|length| {
        parts.next().is_some_and(|part| part.len() == length && part.iter().all(u8::is_ascii_digit))
    }) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_folded_and_names_are_not() {
        for (path, route) in [
            ("/orders/123", "/orders/{int}"),
            ("/orders/123/items/4?x=secret", "/orders/{int}/items/{int}"),
            ("/items/6f9619ff-8b86-d011-b42d-00cf4fc964ff/", "/items/{uuid}/"),
            ("/blob/d41d8cd98f00b204e9800998ecf8427e", "/blob/{hash}"),
            ("/day/2026-11-21", "/day/{date}"),
            ("/at/52.52/13.4", "/at/{float}/{float}"),
            ("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0", "/t/{token}"),
            ("/api/v2/users", "/api/v2/users"),
            ("/deadbeefdeadbeef", "/deadbeefdeadbeef"),
            ("/how-to-write-a-very-long-title-2", "/how-to-write-a-very-long-title-2"),
            ("", "/"),
            ("*", "*"),
        ] {
            assert_eq!(fold(path), route, "{path}");
        }
    }

    #[test]
    fn a_route_has_a_bound() {
        let route = fold(&"/ä".repeat(1000));
        assert_eq!(route.chars().count(), LONGEST_ROUTE + 1);
    }
}

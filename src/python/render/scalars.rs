//! Texts and numbers, as `repr` has them.

use super::super::layout::IntFormat;
use super::super::objects::Text;
use super::super::view::View;
use super::Renderer;
use crate::units::RemoteAddress;

/// The most digits of 30 bits of an `int` that are turned into decimal ones: 289 of those.
const MOST_DIGITS: usize = 32;

impl Renderer<'_, '_> {
    /// `True` and `False` are an `int`'s 1 and 0.
    pub(super) fn boolean(&mut self, head: View<'_>) -> Option<()> {
        let (_, count) = self.sign_and_digits(head)?;
        self.push(if count == 0 { "False" } else { "True" });
        Some(())
    }

    pub(super) fn int(&mut self, object: RemoteAddress, head: View<'_>) -> Option<()> {
        let (negative, count) = self.sign_and_digits(head)?;
        let start = self.layout.object.ob_size.checked_add(8)?;
        if count > MOST_DIGITS {
            let bits = count.saturating_mul(30);
            self.push(&format!("<{}int of some {bits} bits>", if negative { "-" } else { "" }));
            return Some(());
        }
        let length = count.checked_mul(4)?;
        let bytes = match head.bytes(start, length) {
            Some(bytes) => bytes.to_vec(),
            None => self.objects.bytes(object.plus(start as u64), length)?.to_vec(),
        };
        let digits = bytes.chunks_exact(4).filter_map(|digit| View(digit).u32(0));
        let digits: Vec<u32> = digits.filter(|&digit| digit < 1 << 30).collect();
        if digits.len() != count {
            return None;
        }
        let text = decimal(&digits);
        self.push(&if negative { format!("-{text}") } else { text });
        Some(())
    }

    /// Whether an `int` is below zero, and of how many digits of 30 bits it consists.
    fn sign_and_digits(&self, head: View<'_>) -> Option<(bool, usize)> {
        let word = head.i64(self.layout.object.ob_size)?;
        let (negative, count) = match self.layout.object.int_format {
            IntFormat::SignedSize => (word < 0, word.unsigned_abs()),
            IntFormat::Tagged => match word & 3 {
                0 => (false, word.cast_unsigned() >> 3),
                1 => (false, 0),
                2 => (true, word.cast_unsigned() >> 3),
                _ => return None,
            },
        };
        // The largest that fits in 2^40 bytes; more than there is in any process.
        Some((negative, usize::try_from(count).ok().filter(|&count| count < 1 << 38)?))
    }

    pub(super) fn float(&mut self, head: View<'_>) -> Option<()> {
        // PyFloatObject: ob_fval right after the head, where other objects have ob_size.
        let bits = head.u64(self.layout.object.ob_size)?;
        self.push(&float(f64::from_bits(bits)));
        Some(())
    }

    pub(super) fn str(&mut self, object: RemoteAddress, head: View<'_>) -> Option<()> {
        let text = Text::parse_up_to(head, &self.layout.object, usize::MAX >> 3)?;
        let wanted = self.limits.characters.saturating_sub(self.length).saturating_add(1);
        let size = text.size().min(wanted.saturating_mul(usize::from(text.width())));
        let bytes = match text.inline() {
            Some(offset) => match head.bytes(offset, size) {
                Some(bytes) => bytes.to_vec(),
                None => self.objects.bytes(object.plus(offset as u64), size)?.to_vec(),
            },
            None => self.objects.bytes(text.pointer()?, size)?.to_vec(),
        };
        let characters = text.decode(&bytes)?;
        self.quoted(&characters, size < text.size());
        Some(())
    }

    pub(super) fn bytes(&mut self, object: RemoteAddress, head: View<'_>) -> Option<()> {
        let at = self.layout.object;
        let length = usize::try_from(head.i64(at.ob_size)?).ok()?;
        let wanted = self.limits.characters.saturating_sub(self.length).saturating_add(1);
        let shown = length.min(wanted);
        let bytes = match head.bytes(at.bytes_data, shown) {
            Some(bytes) => bytes.to_vec(),
            None => self.objects.bytes(object.plus(at.bytes_data as u64), shown)?.to_vec(),
        };
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
        let mut text = format!("b{quote}");
        for &byte in &bytes {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\n' => text.push_str("\\n"),
                b'\r' => text.push_str("\\r"),
                b'\t' => text.push_str("\\t"),
                b' '..=b'~' if char::from(byte) == quote => text.extend(['\\', quote]),
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        self.push(&text);
        self.close(quote, shown < length);
        Some(())
    }

    /// A text in quotes, as `repr` chooses and escapes them.
    fn quoted(&mut self, text: &str, is_cut: bool) {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut shown = String::from(quote);
        for character in text.chars() {
            match character {
                '\\' => shown.push_str("\\\\"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                other if other == quote => shown.extend(['\\', quote]),
                other if is_printable(other) => shown.push(other),
                other => shown.push_str(&match u32::from(other) {
                    code @ ..0x100 => format!("\\x{code:02x}"),
                    code @ 0x100..0x10000 => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                }),
            }
        }
        self.push(&shown);
        self.close(quote, is_cut);
    }

    fn close(&mut self, quote: char, is_cut: bool) {
        if is_cut {
            self.cut();
        }
        self.push(quote.encode_utf8(&mut [0; 4]));
    }
}

/// Whether a character shows itself and does nothing else: no control, no mark that turns
/// the direction of text, nothing unassigned.
pub(super) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{fffe}' | '\u{ffff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control() && other.escape_debug().nth(1).is_none(),
    }
}

/// Digits of 30 bits, least first, in decimal.
fn decimal(digits: &[u32]) -> String {
    const BILLION: u64 = 1_000_000_000;
    let mut number: Vec<u64> = digits.iter().map(|&digit| u64::from(digit)).collect();
    let mut parts: Vec<u64> = Vec::new();
    while number.iter().any(|&digit| digit != 0) {
        let mut rest = 0_u64;
        for digit in number.iter_mut().rev() {
            // Below a billion times 2^30: it fits.
            let value = rest << 30 | *digit;
            *digit = value.checked_div(BILLION).unwrap_or(0);
            rest = value.checked_rem(BILLION).unwrap_or(0);
        }
        parts.push(rest);
    }
    let Some(first) = parts.pop() else { return "0".to_owned() };
    let mut text = first.to_string();
    for part in parts.into_iter().rev() {
        text.push_str(&format!("{part:09}"));
    }
    text
}

/// The shortest digits that mean this number and no other, in Python's form: with an
/// exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        assert_eq!(decimal(&[]), "0");
        assert_eq!(decimal(&[7]), "7");
        assert_eq!(decimal(&[0, 1]), "1073741824");
        // 2**200
        let digits = [0, 0, 0, 0, 0, 0, 1 << 20];
        assert_eq!(
            decimal(&digits),
            "1606938044258990275541962092341162602522202993782792835301376"
        );
        assert_eq!(decimal(&[0x3b9a_ca00 & 0x3fff_ffff, 0]), "1000000000");
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-300, "1.5e-300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn what_would_act_on_a_terminal_is_not_printable() {
        for character in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}', '\u{2066}', '\u{ad}'] {
            assert!(!is_printable(character), "{character:?}");
        }
        for character in ['a', 'é', '日', ' ', '\'', '"', '€'] {
            assert!(is_printable(character), "{character:?}");
        }
    }
}

//! Standard output as a page that is drawn again and again: in place on a terminal, one page
//! after the other elsewhere.

use std::io::{self, IsTerminal, Write};

use super::exit::Failure;

/// Where pages go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// Columns and lines of the terminal; `None` if there is none.
    size: Option<(usize, usize)>,
    /// Whether it is coloured.
    pub(super) colour: bool,
    /// Whether pages follow one another.
    repeats: bool,
    drawn: bool,
}

/// How wide a page is where there is no terminal.
const WIDTH: usize = 120;

impl Screen {
    pub(super) fn new(repeats: bool) -> Self {
        let out = io::stdout();
        let size = out.is_terminal().then(terminal_size::terminal_size).flatten();
        let colour = anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never;
        let size = size.map(|(width, height)| (width.0.into(), height.0.into()));
        Self { size, colour, repeats, drawn: false }
    }

    /// How wide a page may be, in columns.
    pub(super) fn width(&self) -> usize {
        self.size.map_or(WIDTH, |(width, _)| width.max(40))
    }

    /// Draws a page. Whether anybody still looks.
    pub(super) fn draw(&mut self, lines: &[String]) -> Result<bool, Failure> {
        match self.write(lines, &mut io::stdout().lock()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        }
    }

    fn write(&mut self, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
        let again = std::mem::replace(&mut self.drawn, true);
        let (Some((_, height)), true) = (self.size, self.repeats) else {
            if again {
                writeln!(out)?;
            }
            for line in lines {
                writeln!(out, "{line}")?;
            }
            return out.flush();
        };
        // Home, each line to its end, and nothing below: nothing flickers, and what scrolled
        // by before stays.
        if !again {
            write!(out, "\x1b[2J")?;
        }
        write!(out, "\x1b[H")?;
        let most = height.saturating_sub(2).max(1);
        for line in lines.iter().take(most) {
            write!(out, "{line}\x1b[K\r\n")?;
        }
        if lines.len() > most {
            write!(out, "and {} more lines\x1b[K\r\n", lines.len() - most)?;
        }
        write!(out, "\x1b[J")?;
        out.flush()
    }
}

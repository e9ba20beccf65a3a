//! Blocks: how a payload is framed, checked and deflated. Knows no message.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The largest payload, inflated. Bounds what a hostile file can make us hold.
pub(super) const MAX_INFLATED: u32 = 4 << 20;
/// The largest payload, as stored: what cannot be compressed grows a little.
const MAX_STORED: u32 = MAX_INFLATED + (1 << 16);
const HEADER: usize = 16;

/// What a block holds. Others are left for later versions of this build to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session = 1,
    Entries = 2,
    Events = 3,
    End = 4,
}

impl Kind {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        [Self::Session, Self::Entries, Self::Events, Self::End]
            .into_iter()
            .find(|&kind| kind as u32 == number)
    }
}

/// Writes blocks, each with one `write` and a flush.
pub(super) struct BlockWriter<W> {
    out: W,
    deflate: Compress,
    stored: Vec<u8>,
}

impl<W> std::fmt::Debug for BlockWriter<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BlockWriter").finish_non_exhaustive()
    }
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(out: W) -> Self {
        // The structure does most of the packing; the profiler's own CPU time
        // matters more than the last percents of the file.
        Self { out, deflate: Compress::new(Compression::fast(), false), stored: Vec::new() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    pub(super) fn block(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, "a block is too large");
        let inflated = u32::try_from(payload.len())
            .ok()
            .filter(|&length| length <= MAX_INFLATED)
            .ok_or_else(too_large)?;
        self.stored.clear();
        self.stored.resize(HEADER, 0);
        self.deflate.reset();
        loop {
            let consumed = usize::try_from(self.deflate.total_in()).map_err(|_| too_large())?;
            let rest = payload.get(consumed..).unwrap_or_default();
            self.stored.reserve(rest.len().saturating_add(1024));
            let status =
                self.deflate.compress_vec(rest, &mut self.stored, FlushCompress::Finish)?;
            if status == Status::StreamEnd {
                break;
            }
        }
        let stored =
            u32::try_from(self.stored.len().saturating_sub(HEADER)).map_err(|_| too_large())?;
        let mut header = [0; HEADER];
        for (field, value) in header.chunks_exact_mut(4).zip([kind as u32, stored, inflated]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        let body = self.stored.get(HEADER..).unwrap_or_default();
        let check = checksum(&header, body);
        for (byte, value) in header.iter_mut().skip(12).zip(check.to_le_bytes()) {
            *byte = value;
        }
        for (byte, value) in self.stored.iter_mut().zip(header) {
            *byte = value;
        }
        self.out.write_all(&self.stored)?;
        self.out.flush()
    }
}

/// CRC-32 of the header without its last field, and the payload as stored.
fn checksum(header: &[u8; HEADER], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header.first_chunk::<12>().map_or(&[][..], |fields| fields));
    hasher.update(stored);
    hasher.finalize()
}

/// Reads blocks.
#[derive(Debug)]
pub(super) struct BlockReader<R> {
    input: R,
    stored: Vec<u8>,
    inflated: Vec<u8>,
    inflate: Decompress,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// A whole block of the kind with this number, inflated.
    Block(u32, &'a [u8]),
    /// The file ends between two blocks.
    EndOfFile,
    /// The file ends within a block.
    Cut,
    /// The block is not what its checksum says, or its lengths make no sense.
    Damaged,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn new(input: R) -> Self {
        let inflate = Decompress::new(false);
        Self { input, stored: Vec::new(), inflated: Vec::new(), inflate }
    }

    /// The first bytes of the file, as many as there are up to `N`.
    pub(super) fn raw<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        self.fetch(N)?;
        Ok(self.stored.first_chunk::<N>().copied())
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let Some(header) = self.raw::<HEADER>()? else {
            return Ok(if self.stored.is_empty() { Next::EndOfFile } else { Next::Cut });
        };
        let mut fields = header
            .chunks_exact(4)
            .map(|field| field.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes)));
        let mut field = || fields.next().unwrap_or_default();
        let (kind, stored, inflated, check) = (field(), field(), field(), field());
        if stored > MAX_STORED || inflated > MAX_INFLATED {
            return Ok(Next::Damaged);
        }
        let (Ok(stored), Ok(inflated)) = (usize::try_from(stored), usize::try_from(inflated))
        else {
            return Ok(Next::Damaged);
        };
        self.fetch(stored)?;
        if self.stored.len() < stored {
            return Ok(Next::Cut);
        }
        if checksum(&header, &self.stored) != check || !self.inflate(inflated) {
            return Ok(Next::Damaged);
        }
        Ok(Next::Block(kind, &self.inflated))
    }

    /// Reads so many bytes into `stored`, or fewer at the end of the file.
    fn fetch(&mut self, bytes: usize) -> io::Result<()> {
        self.stored.clear();
        let limit = u64::try_from(bytes).unwrap_or(u64::MAX);
        (&mut self.input).take(limit).read_to_end(&mut self.stored)?;
        Ok(())
    }

    /// Inflates `stored`; whether that gave exactly `length` bytes.
    fn inflate(&mut self, length: usize) -> bool {
        self.inflated.clear();
        // It never writes beyond the capacity; one more byte shows what is too long.
        self.inflated.reserve_exact(length.saturating_add(1));
        self.inflate.reset(false);
        let status =
            self.inflate.decompress_vec(&self.stored, &mut self.inflated, FlushDecompress::Finish);
        matches!(status, Ok(Status::StreamEnd)) && self.inflated.len() == length
    }
}

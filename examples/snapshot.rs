//! Saves what farrier reads of a live interpreter, for `tests/snapshots.rs` and
//! `tests/hostile.rs`. `scripts/snapshot.sh` calls it for every version:
//!
//! ```text
//! python fixtures/apps/known_stack.py     its JSON ─► standard input
//! cargo run --example snapshot -- PID fixtures/memory/3.8
//!     3.8.snapshot   the memory, deflated (`SnapshotMemory::to_file`)
//!     3.8.json       where the interpreter is, and the truth of the JSON
//! ```

#[path = "../tests/common/objects.rs"]
mod objects;

use std::fs::File;
use std::io::Write;

use farrier::model::Tables;
use farrier::process::{
    Batch, Image, Images, LiveMemory, Process, ReadMemory, RecordingMemory, SnapshotMemory,
};
use farrier::python::{Error, Runtime};
use farrier::units::{Pid, RemoteAddress};
use flate2::{Compression, write::DeflateEncoder};
use serde_json::{Map, Value, json};

const SYMBOLS: [&str; 2] = ["_PyRuntime", "Py_Version"];

/// The page that has the text of `Py_GetVersion()`: up to 3.10 nothing else tells it.
fn banner_page(image: &Image, memory: &dyn ReadMemory, text: &str) -> Option<u64> {
    const PAGE: usize = 4096;
    image.writable().iter().find_map(|&(start, end)| {
        (start.get()..end.get()).step_by(PAGE).find(|&page| {
            let mut batch = Batch::new();
            let slot = batch.ask(RemoteAddress::new(page), PAGE + text.len());
            memory.read(&mut batch).is_ok()
                && batch.prefix(slot).is_some_and(|bytes| {
                    bytes.windows(text.len()).any(|window| window == text.as_bytes())
                })
        })
    })
}

/// What is read of everything, twice as the sampler does it.
fn record(images: &[Image], memory: &dyn ReadMemory) -> Result<SnapshotMemory, Error> {
    let recording = RecordingMemory::new(memory);
    let mut tables = Tables::new();
    let mut runtime = Runtime::locate(images, &recording)?;
    runtime.refresh(&recording)?;
    let all: Vec<usize> = (0..runtime.threads().len()).collect();
    runtime.thread_names(&recording, &all);
    for _ in 0..2 {
        runtime.look(&recording, &mut tables, &all)?;
        for &index in &all {
            objects::strings_behind(&mut runtime, &recording, &tables, index);
            objects::rendered(&mut runtime, &recording, index, || ());
        }
    }
    Ok(recording.into_snapshot())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let pid: u32 = arguments.next().ok_or("no PID")?.parse()?;
    let path = arguments.next().ok_or("no path to write to, without its ending")?;
    let truth: Value = serde_json::from_reader(std::io::stdin())?;

    let process = Process::open(Pid::new(pid))?;
    let memory = LiveMemory::new(process.clone());
    let images = Images::new().of_process(&process)?;
    let (image, version) = images
        .iter()
        .find_map(|image| {
            let found = Runtime::locate(std::slice::from_ref(image), &memory).ok()?;
            Some((image, found.version().to_string()))
        })
        .ok_or("no interpreter")?;
    let sections = [".PyRuntime"].iter().filter_map(|&name| Some((name, image.section(name)?)));
    let symbols = SYMBOLS.iter().filter_map(|&name| Some((name, image.symbol(name)?)));
    let (sections, symbols): (Vec<_>, Vec<_>) = (sections.collect(), symbols.collect());
    let page = banner_page(image, &memory, &format!("{version} ("));
    let range = page.map(|page| (RemoteAddress::new(page), RemoteAddress::new(page + 8192)));
    let file = image.path().file_name().unwrap_or_default();
    let described = Image::described(file, &sections, &symbols, range.into_iter().collect());

    let saved = record(&[described], &memory)?.to_file();
    let mut deflate =
        DeflateEncoder::new(File::create(format!("{path}.snapshot"))?, Compression::best());
    deflate.write_all(&saved)?;
    deflate.finish()?;
    let places = |places: &[(&str, RemoteAddress)]| -> Map<String, Value> {
        places.iter().map(|&(name, address)| (name.to_owned(), address.get().into())).collect()
    };
    let facts = json!({
        "path": file.to_string_lossy(), "version": version,
        "sections": places(&sections), "symbols": places(&symbols),
        "writable": range.map(|(start, end)| [start.get(), end.get()]).into_iter().collect::<Vec<_>>(),
        "threads": truth["threads"],
    });
    serde_json::to_writer_pretty(File::create(format!("{path}.json"))?, &facts)?;
    Ok(())
}

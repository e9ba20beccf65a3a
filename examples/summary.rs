//! Adds a recording up and prints its endpoints, without the command line:
//! `cargo run --example summary run.farrier`.

use std::error::Error;
use std::fs::File;

use farrier::analysis::Summary;
use farrier::profile::Builder;
use farrier::recording::replay;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("which recording?")?;
    let mut builder = Builder::new();
    let replayed = replay(File::open(path)?, &mut builder)?;
    let summary = Summary::of(&builder.finish(replayed.tables));
    for row in &summary.endpoints {
        println!("{:8.2} s  {}", row.seconds, row.endpoint);
    }
    Ok(())
}

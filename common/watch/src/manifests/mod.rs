//! A directory of manifests: YAML and JSON files → objects, and what is wrong with them.
//!
//! From the inside out: [`parse_file`] reads one file's text (pure; `cache` spares documents that
//! did not change; the objects are read by [`objects`](crate::objects)); [`Directory`] puts files
//! together and keeps last good objects (pure, `now` is an argument); `tracker` decides which files
//! are to be read (pure); [`scan`](scan()) lists names and stamps; `worker` does one pass of all
//! that; `thread` runs passes when inotify or a deadline says so.

//!
//! # Memory (S7)
//! A directory has at most [`MAX_FILES`] files of [`MAX_FILE_BYTES`] each and [`MAX_TOTAL_BYTES`] in
//! all, and [`MAX_OBJECTS`] objects. Reading the worst of such files takes 64 MiB for the moment
//! (50 measured; `yaml` bounds what is parsed at once), and what is kept of the worst (endpoints,
//! nothing else) is 5 bytes for each of its text: 256 MiB bound the whole, half of what the units
//! grant. `cargo run --release -p roadstead-watch --example memory` measures it.

mod cache;
mod chunks;
mod directory;
mod file;
mod inotify;
mod parse;
mod parsed;
mod scan;
pub(crate) mod thread;
mod tracker;
mod worker;
mod yaml;

pub use directory::{Directory, EMPTY_GRACE};
pub use file::{parse_file, parse_file_with_metallb};
pub use parse::{MAX_OBJECTS, MAX_PROBLEMS};
pub use parsed::{Foreign, Parsed, Reading};
pub use scan::{
    FileId, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Overflow, ReadError, Scan, Stamp,
    is_manifest, read, scan,
};
pub use tracker::Timing;
pub use worker::{check, check_all};

//! What a file says, object by object, before the files of a directory are put together.

use roadstead_model::{Location, Problem};

use crate::objects::Item;

/// Objects of a kind that does not concern Roadstead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// `Deployment (apps/v1)`.
    pub kind: String,
    /// The first of them.
    pub location: Location,
    /// How many.
    pub count: usize,
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// How far the file could be read.
    pub reading: Reading,
    /// Its objects, in the order of the file.
    pub items: Vec<Item>,
    /// Kinds that are passed over.
    pub foreign: Vec<Foreign>,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// How far a file could be read, which decides what its silence about an object means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Whole: an object that is not there is not there.
    #[default]
    Whole,
    /// It has an object that cannot be named: an object that is missing may be that one.
    Nameless,
    /// There is nothing in it but blanks: perhaps somebody is about to write it.
    Blank,
    /// Not at all.
    Broken,
}

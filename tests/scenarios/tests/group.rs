//! Several edge hosts of one group: one writes and announces, the others serve what it assigned.

mod follow;
mod take_over;

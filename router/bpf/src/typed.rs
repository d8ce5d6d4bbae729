//! One map with its types, over a pinned descriptor.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, BorrowedFd},
};

use libbpf_rs::{MapCore as _, MapHandle};
use roadstead_router_core::maps::MapError;

use crate::{
    Error,
    layout::Plain,
    pins::Pins,
    sys::{self, Batch, Position},
};

/// Elements read in one call while walking over a map.
const BATCH: usize = 4_096;

/// A map from `K` to `V`. For a per-processor map, `V` is one processor's value.
#[derive(Debug)]
pub(crate) struct TypedMap<K, V> {
    handle: MapHandle,
    name: &'static str,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Plain, V: Plain> TypedMap<K, V> {
    /// Opens the pin and compares the sizes.
    pub(crate) fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let handle = open_map(pins, name)?;
        let sizes = (size(handle.key_size()), size(handle.value_size()));
        if sizes != (size_of::<K>(), size_of::<V>()) {
            return Err(Error::Schema { path: pins.root() });
        }
        Ok(Self { handle, name, types: PhantomData })
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.handle.max_entries()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, MapError> {
        let mut value = vec![0; size_of::<V>()];
        let found =
            sys::lookup(self.fd(), key.bytes(), &mut value).map_err(self.refused("read"))?;
        Ok(found.then(|| V::from_bytes(&value)).flatten())
    }

    pub(crate) fn put(&self, key: &K, value: &V) -> Result<(), MapError> {
        sys::update(self.fd(), key.bytes(), value.bytes()).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::E2BIG | libc::ENOSPC) => {
                    MapError::Full { map: self.name, capacity: self.capacity() }
                }
                _ => self.refused("write")(source),
            }
        })
    }

    /// False where there was no such key.
    pub(crate) fn delete(&self, key: &K) -> Result<bool, MapError> {
        sys::delete(self.fd(), key.bytes()).map_err(self.refused("delete from"))
    }

    /// Every element. One that is written or deleted meanwhile may be missed or be seen twice.
    pub(crate) fn all(&self) -> Result<Vec<(K, V)>, MapError> {
        let mut found = Vec::new();
        let mut walk = Walk::default();
        while !walk.done {
            self.walk(&mut walk, &mut |key, value| found.push((key, value)))?;
        }
        Ok(found)
    }

    /// Reads the next batch and moves `walk` on.
    pub(crate) fn walk(&self, walk: &mut Walk, each: &mut dyn FnMut(K, V)) -> Result<(), MapError> {
        let (key_size, value_size) = (size_of::<K>(), size_of::<V>());
        walk.grow(key_size, value_size, size(self.capacity()));
        let read = sys::lookup_batch(
            self.fd(),
            &mut walk.position,
            (&mut walk.keys, key_size),
            (&mut walk.values, value_size),
        );
        let read = match read.map_err(self.refused("read"))? {
            Batch::Some(read) => read,
            Batch::Last(read) => {
                walk.done = true;
                read
            }
            Batch::TooSmall => {
                walk.room = walk.room.saturating_mul(2);
                return Ok(());
            }
        };
        let keys = walk.keys.chunks_exact(key_size);
        let values = walk.values.chunks_exact(value_size);
        for (key, value) in keys.zip(values).take(read) {
            if let (Some(key), Some(value)) = (K::from_bytes(key), V::from_bytes(value)) {
                each(key, value);
            }
        }
        Ok(())
    }

    fn refused(&self, act: &'static str) -> impl Fn(io::Error) -> MapError + use<K, V> {
        let map = self.name;
        move |source| MapError::Kernel { act, map, source }
    }
}

impl<V: Plain> TypedMap<u32, V> {
    /// Writes the first elements of an array in one call.
    pub(crate) fn put_first(&self, values: &[V]) -> Result<(), MapError> {
        let indices = (0_u32..).zip(values);
        let keys: Vec<u8> = indices.flat_map(|(index, _)| index.to_ne_bytes()).collect();
        let values: Vec<u8> = values.iter().flat_map(|value| value.bytes().to_vec()).collect();
        sys::update_batch(self.fd(), (&keys, size_of::<u32>()), (&values, size_of::<V>()))
            .map_err(self.refused("write"))
    }

    /// One value per processor of an element.
    pub(crate) fn each_processor(&self, index: u32) -> Result<Vec<V>, MapError> {
        let stride = size_of::<V>().next_multiple_of(8);
        let processors = libbpf_rs::num_possible_cpus()
            .map_err(|error| self.refused("read")(io::Error::other(error)))?;
        let mut values = vec![0; stride.saturating_mul(processors)];
        sys::lookup(self.fd(), index.bytes(), &mut values).map_err(self.refused("read"))?;
        Ok(values.chunks_exact(stride).filter_map(V::from_bytes).collect())
    }
}

/// Where a walk over a map stands, with its buffers.
#[derive(Debug)]
pub(crate) struct Walk {
    position: Position,
    keys: Vec<u8>,
    values: Vec<u8>,
    room: usize,
    /// The last batch has been read.
    pub(crate) done: bool,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            position: Position::default(),
            keys: Vec::new(),
            values: Vec::new(),
            room: BATCH,
            done: false,
        }
    }
}

impl Walk {
    fn grow(&mut self, key_size: usize, value_size: usize, capacity: usize) {
        let room = self.room.min(capacity);
        self.keys.resize(room.saturating_mul(key_size), 0);
        self.values.resize(room.saturating_mul(value_size), 0);
    }
}

fn size(of: u32) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

/// Opens a pinned map.
pub(crate) fn open_map(pins: &Pins, name: &str) -> Result<MapHandle, Error> {
    let path = pins.map(name);
    MapHandle::from_pinned_path(&path).map_err(|error| {
        let missing = error.kind() == libbpf_rs::ErrorKind::NotFound;
        let source = io::Error::other(error);
        if missing { Error::NotLoaded { path, source } } else { Error::Open { path, source } }
    })
}

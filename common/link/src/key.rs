//! The group's key: 32 bytes in a file that every host of the group has.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes of a key.
pub const LENGTH: usize = 32;
/// Longest file that is read: hexadecimal digits, a line feed, some room.
const FILE_MAX: u64 = 256;
/// The bits of a mode by which everybody may read or write.
const OTHERS: u32 = 0o006;

/// The group's key. Never shown, not even by [`fmt::Debug`].
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LENGTH]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the group's key {}: make one with `roadstead group-key` and copy it to every host", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Everybody may read it, or change it.
    #[error("the group's key {} may be read or written by everybody (mode {mode:04o}): chmod 0640", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is in it is no key.
    #[error("{} holds no key: it wants 32 random bytes as base64 or as 64 hexadecimal digits, as `roadstead group-key` prints them", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
}

impl Key {
    /// Reads the key's file.
    ///
    /// # Errors
    /// When it cannot be read, everybody may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Unreadable { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Open { path: path.to_path_buf(), mode });
        }
        let mut text = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut text).map_err(unreadable)?;
        let key = std::str::from_utf8(&text).ok().and_then(Self::parse);
        key.ok_or_else(|| KeyError::NoKey { path: path.to_path_buf() })
    }

    /// 32 bytes as base64 or as hexadecimal digits, with spaces around them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = of_hexadecimal(text).or_else(|| STANDARD.decode(text).ok())?;
        // A file of zeros is a mistake, and a key that everybody guesses.
        let key: [u8; LENGTH] = bytes.try_into().ok()?;
        (key != [0; LENGTH]).then_some(Self(key))
    }

    /// A new key from the kernel's random source.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn generate() -> io::Result<Self> {
        let mut key = [0; LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self(key))
    }

    /// As the key's file holds it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn of_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * LENGTH || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("group.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_is_read_as_it_was_written_in_both_forms() {
        let key = Key::generate().unwrap();
        let (_kept, path) = file(&format!("{}\n", key.to_base64()), 0o640);
        assert_eq!(Key::read(&path).unwrap(), key);
        let digits: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Key::parse(&digits), Some(key));
    }

    #[test]
    fn a_key_that_everybody_may_read_is_refused() {
        let (_kept, path) = file(&Key::generate().unwrap().to_base64(), 0o644);
        let error = Key::read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0644") && error.contains("chmod 0640"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_told_with_what_would_be() {
        for text in ["", "banana", "AAAA", &"0".repeat(64), &"ab".repeat(33)] {
            let (_kept, path) = file(text, 0o600);
            let error = Key::read(&path).unwrap_err().to_string();
            assert!(error.contains("32 random bytes"), "{text}: {error}");
        }
        let error = Key::read(Path::new("/nonexistent/group.key")).unwrap_err().to_string();
        assert!(error.contains("roadstead group-key"), "{error}");
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = Key::generate().unwrap();
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}

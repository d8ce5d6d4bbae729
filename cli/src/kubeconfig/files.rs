//! A file that opens a cluster, for one user only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::Path,
};

use nix::unistd::User;

/// Only the owner reads it.
const SECRET: u32 = 0o600;

/// Writes a file whole, by rename, readable by one user only. Returns what is doubtful about who
/// that is: a host without the daemons' users has another owner.
///
/// # Errors
/// When it cannot be written or given away.
pub(super) fn write_for(path: &Path, text: &str, user: &str) -> io::Result<Option<String>> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET).open(&draft)?;
    file.write_all(text.as_bytes())?;
    let doubt = match User::from_name(user)? {
        Some(user) => {
            fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map(|()| None)
        }
        None => Ok(Some(format!("there is no user {user} here; only who wrote it can read it"))),
    }?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(doubt)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_only_whatever_was_there_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("home.speaker.kubeconfig");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened to all");
        let doubt = write_for(&path, "new", "nobody-of-this-name").expect("written");
        assert!(doubt.expect("a doubt").contains("there is no user nobody-of-this-name"));
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, SECRET);
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1, "no draft is left");
    }
}

//! A value that another daemon publishes, followed by long polls of its local socket.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::{Client, ClientError};
use crate::publish::{Generation, Seen};

/// Pause after a failed call: a daemon is restarted within a second, and is asked soon after.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest value: 5,000 Services are some 5 MB. A daemon that holds values has room for it several
/// times over, as text and as what it is read into.
const MOST: usize = 32 * 1024 * 1024;

/// Tells `hear` each value at `path` and each failed call, for ever. After a failure the value is
/// asked for anew, whatever its generation. Cancelling is safe at any point.
pub async fn follow<T>(client: Client, path: &str, mut hear: impl FnMut(Result<T, ClientError>))
where
    T: DeserializeOwned + Generation,
{
    let client = client.at_most(MOST);
    let mut after = None;
    loop {
        let path = match after {
            Some(seen) => format!("{path}?{seen}"),
            None => path.to_owned(),
        };
        let said = client.get::<T>(&path).await;
        let now = said.as_ref().ok().map(Seen::of);
        hear(said);
        // The same again: a long poll whose time was over, or a daemon that does not wait.
        let again = now.is_none() || now == after;
        after = now;
        if again {
            sleep(PAUSE).await;
        }
    }
}

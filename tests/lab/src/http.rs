//! The few words of HTTP/1.1 that the lab's node and client speak.

use anyhow::{Result, anyhow, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head that is read.
const LONGEST_HEAD: usize = 8192;

/// The head of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// First line.
    pub first: String,
    /// `Content-Length`, 0 where there is none.
    pub length: usize,
    /// Whether `Connection: close` was said.
    pub close: bool,
}

impl Head {
    /// Reads a head from its text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let mut head = Self { first, ..Self::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse()?,
                "connection" => head.close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(head)
    }

    /// The path of a request.
    pub fn path(&self) -> Result<&str> {
        let path = self.first.split(' ').nth(1);
        path.ok_or_else(|| anyhow!("`{}` is not a request", self.first))
    }
}

/// Reads messages from a stream, keeping what was read too far.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next message; none at the end of the stream between two messages.
    pub async fn message(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<(Head, Vec<u8>)>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            ensure!(self.buffer.len() <= LONGEST_HEAD, "a head above {LONGEST_HEAD} bytes");
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { bail!("cut in the head") };
            }
        };
        let head = Head::parse(&String::from_utf8_lossy(&self.buffer[..end]))?;
        let whole = end + 4 + head.length;
        while self.buffer.len() < whole {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "cut in the body");
        }
        let body = self.buffer[end + 4..whole].to_vec();
        self.buffer.drain(..whole);
        Ok(Some((head, body)))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// What a node answers: its name, the client it sees, its own port, and the path asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name of the node.
    pub node: String,
    /// The client's address and port as the node sees them.
    pub client: String,
    /// The port of the node that was asked.
    pub port: u16,
    /// The path that was asked for.
    pub path: String,
    /// How many bytes of body the request had.
    pub received: usize,
    /// [`crate::pattern::sum`] of that body.
    pub sum: u64,
}

impl Answer {
    /// As the body of an answer.
    pub fn to_text(&self) -> String {
        format!(
            "node={} client={} port={} path={} received={} sum={}\n",
            self.node, self.client, self.port, self.path, self.received, self.sum
        )
    }

    /// From the body of an answer.
    pub fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            let found =
                text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned).ok_or_else(|| anyhow!("no {name}= in `{}`", text.trim()))
        };
        Ok(Self {
            node: field("node")?,
            client: field("client")?,
            port: field("port")?.parse()?,
            path: field("path")?,
            received: field("received")?.parse()?,
            sum: field("sum")?.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_wire() -> Result<()> {
        let answer = Answer {
            node: "node1".into(),
            client: "[2001:db8::1]:4242".into(),
            port: 30000,
            path: "/seq/7".into(),
            received: 3,
            sum: 9,
        };
        assert_eq!(Answer::parse(&answer.to_text())?, answer);
        assert!(Answer::parse("hello").is_err());
        Ok(())
    }

    #[tokio::test]
    async fn two_messages_in_one_read_are_told_apart() -> Result<()> {
        let mut stream: &[u8] =
            b"GET /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nConnection: close\r\n\r\n";
        let mut reader = Reader::default();
        let (head, body) = reader.message(&mut stream).await?.expect("the first");
        assert_eq!((head.path()?, body.as_slice(), head.close), ("/a", b"hi".as_slice(), false));
        let (head, _) = reader.message(&mut stream).await?.expect("the second");
        assert_eq!((head.path()?, head.close), ("/b", true));
        assert!(reader.message(&mut stream).await?.is_none());
        Ok(())
    }
}

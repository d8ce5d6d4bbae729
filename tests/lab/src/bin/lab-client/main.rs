//! A bounded load generator for the lab: open loop at a stated rate, so that a stall shows as
//! lost and late requests rather than as fewer of them. Prints one line of JSON at the end.
#![forbid(unsafe_code)]

mod record;
mod tcp;
mod udp;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
    time::{Instant, sleep_until},
};

use record::Record;

#[derive(Parser)]
#[command(about = "Sends requests at a stated rate until SIGTERM or a bound, then prints JSON")]
struct Arguments {
    #[command(subcommand)]
    shape: Shape,
}

#[derive(Subcommand)]
enum Shape {
    /// A TCP connection for each request
    Connect(Common),
    /// Requests with sequence numbers on long connections
    KeepAlive {
        #[command(flatten)]
        common: Common,
        /// How many connections
        #[arg(long, default_value_t = 10)]
        connections: u32,
    },
    /// Datagrams
    Udp {
        #[command(flatten)]
        common: Common,
        /// How many sockets; 0 = a socket for each datagram
        #[arg(long, default_value_t = 16)]
        sockets: u32,
    },
}

#[derive(Args, Clone)]
struct Common {
    /// ADDRESS:PORT
    #[arg(long)]
    to: SocketAddr,
    /// Requests per second in all
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Ends after so many requests
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// Ends after so many seconds
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// After how long a request is lost
    #[arg(long, default_value_t = 3000)]
    timeout_ms: u64,
    /// Source addresses, used in turn
    #[arg(long)]
    from: Vec<IpAddr>,
}

impl Common {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The source address of the n-th request or connection.
    fn source(&self, n: u64) -> Option<IpAddr> {
        let length = u64::try_from(self.from.len()).ok()?;
        let index = usize::try_from(n.checked_rem(length)?).ok()?;
        self.from.get(index).copied()
    }

    fn schedule(&self, stop: &Rc<Cell<bool>>) -> Schedule {
        Schedule {
            start: Instant::now(),
            period: Duration::from_secs(1) / self.rate.max(1),
            count: self.count,
            end: Instant::now() + Duration::from_secs(self.seconds),
            next: 0,
            stop: Rc::clone(stop),
        }
    }
}

/// When requests are due.
struct Schedule {
    start: Instant,
    period: Duration,
    count: u64,
    end: Instant,
    next: u64,
    stop: Rc<Cell<bool>>,
}

impl Schedule {
    /// Waits for the next request to be due: its number and the moment.
    async fn next(&mut self) -> Option<(u64, Instant)> {
        let n = self.next;
        let due = self.start + self.period.mul_f64(u32::try_from(n).ok()?.into());
        if n >= self.count || due >= self.end || self.stop.get() {
            return None;
        }
        sleep_until(due).await;
        self.next += 1;
        (!self.stop.get()).then_some((n, due))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let record = Rc::new(Record::new());
    LocalSet::new().run_until(run(arguments.shape, Rc::clone(&record))).await?;
    println!("{}", serde_json::to_string(&record.report())?);
    Ok(())
}

async fn run(shape: Shape, record: Rc<Record>) -> Result<()> {
    let stop = Rc::new(Cell::new(false));
    let mut term = signal(SignalKind::terminate())?;
    let told = Rc::clone(&stop);
    tokio::task::spawn_local(async move {
        term.recv().await;
        told.set(true);
    });
    match shape {
        Shape::Connect(common) => tcp::connect(common, &stop, record).await,
        Shape::KeepAlive { common, connections } => {
            tcp::keep_alive(common, connections, &stop, record).await;
        }
        Shape::Udp { common, sockets } => udp::run(common, sockets, &stop, record).await?,
    }
    Ok(())
}

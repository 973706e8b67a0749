//! Fetches what strangers ask for, without becoming their way into the own network.
//!
//! `cargo run -p airssys-osl --example ssrf_safe_fetcher -- http://example.com/` fetches a page and follows its
//! redirects, each checked as the first was. Without an address it shows what happens to those who try: their hosts and a
//! server that redirects are played on the loopback, and nothing leaves the machine.

use std::{error::Error, time::Duration};

use airssys_osl::{
    Os,
    net::{Checked, Limits, TcpConnector},
    policy::{Grant, Policy, Ports, Protocol},
    testing::{MemorySink, ScriptedResolver},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const REDIRECTS: usize = 5;
const PAGE_BYTES: u64 = 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(60);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let records = MemorySink::new();
    match std::env::args().nth(1) {
        Some(url) => {
            // Any host, as long as its address is one that anyone on the Internet could have.
            let grants = [Grant::connect(Protocol::Tcp, "*", 80), Grant::net_limits(Limits::new().open(8))];
            let os = Os::new(Policy::builder().principal("fetcher", grants).build()?, records.clone());
            let page = fetch(&os.principal("fetcher")?.tcp_connector(), &url).await;
            show(&records);
            println!("{}", String::from_utf8_lossy(&page?));
        }
        None => demonstrate(&records).await?,
    }
    Ok(())
}

/// Fetches a page and follows redirects.
async fn fetch(connector: &TcpConnector, url: &str) -> Result<Vec<u8>, Failure> {
    let mut url = url.to_owned();
    for _ in 0..=REDIRECTS {
        let (authority, path) =
            split(&url).ok_or_else(|| format!("cannot fetch `{url}`: only http:// here"))?;
        // One lookup, every address decided. What is connected to below is one of those, whatever the host's name server
        // says next.
        let checked = connector.recheck(authority, 80).await?;
        let answer = timeout(DEADLINE, get(connector, &checked, path)).await??;
        match location(&answer) {
            Some(next) if next.starts_with('/') => url = format!("http://{authority}{next}"),
            Some(next) => url = next,
            None => return Ok(answer),
        }
    }
    Err("too many redirects".into())
}

async fn get(connector: &TcpConnector, checked: &Checked, path: &str) -> Result<Vec<u8>, Failure> {
    let mut stream = connector.connect_checked(checked).await?;
    let (host, port) = (checked.host(), checked.port());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut stream).take(PAGE_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The authority and the path of a URL. Control characters would end the request line early.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest =
        url.strip_prefix("http://").filter(|rest| !rest.contains(|c: char| c.is_control() || c == ' '))?;
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    Some((authority, if path.starts_with('/') { path } else { "/" }))
}

/// Where an answer redirects to.
fn location(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    lines.next()?.split(' ').nth(1)?.strip_prefix('3')?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut places = fields.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    places.next().map(|(_, place)| place.trim().to_owned())
}

fn show(records: &MemorySink) {
    for record in records.take() {
        let resource = String::from_utf8_lossy(&record.resource).replace('\0', " ");
        println!("  {:<12} {resource:<64} {:?} by {}", record.action.name(), record.outcome, record.rule);
    }
}

/// Plays a server that redirects into the own network, and hosts that lie.
async fn demonstrate(records: &MemorySink) -> Result<(), Failure> {
    let resolver = ScriptedResolver::new()
        .answer("public.example", &["127.0.0.1"])
        .answer("lies.example", &["169.254.169.254"])
        .answer("rebinds.example", &["127.0.0.1"])
        .answer("rebinds.example", &["10.0.0.1"]);
    let grants = [
        // The stage: on the loopback, 127.0.0.1 plays an address of the Internet.
        Grant::connect(Protocol::Tcp, "127.0.0.1", Ports::ALL).rule("stage"),
        Grant::listen(Protocol::Tcp, "127.0.0.1", Ports::PICKED).rule("stage.server"),
        Grant::connect(Protocol::Tcp, "*", Ports::ALL).rule("any-global-host"),
        Grant::net_limits(Limits::new().resolve_timeout(DEADLINE).connect_timeout(DEADLINE)),
    ];
    let policy = Policy::builder().principal("fetcher", grants).build()?;
    let os = Os::builder(policy, records.clone()).resolver(resolver).build();
    let principal = os.principal("fetcher")?;
    let listener = principal.listen("127.0.0.1:0".parse()?)?;
    let port = listener.local_addr().port();
    let server = async {
        loop {
            let mut stream = listener.accept().await?;
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await?;
            let request = String::from_utf8_lossy(request.get(..read).unwrap_or_default()).into_owned();
            let answer = match request.strip_prefix("GET /to?").and_then(|rest| rest.split(' ').next()) {
                Some(place) => format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n"),
                None => "HTTP/1.1 200 OK\r\n\r\nhello".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    };
    let guests = async {
        let connector = principal.tcp_connector();
        let base = format!("http://public.example:{port}");
        for (url, permitted) in [
            (format!("{base}/"), true),
            (format!("{base}/to?/"), true),
            (format!("{base}/to?http://169.254.169.254/latest/meta-data/"), false),
            (format!("{base}/to?http://[::ffff:169.254.169.254]/"), false),
            (format!("{base}/to?http://0xA9FEA9FE/"), false),
            (format!("{base}/to?http://localhost@10.0.0.1/"), false),
            ("http://lies.example/".to_owned(), false),
            (format!("http://rebinds.example:{port}/to?http://rebinds.example/"), false),
        ] {
            println!("{url}");
            let fetched = fetch(&connector, &url).await;
            show(records);
            assert_eq!(fetched.is_ok(), permitted, "{url}");
            match fetched {
                Ok(page) => println!("  = {}\n", String::from_utf8_lossy(&page).lines().last().unwrap_or("")),
                Err(error) => println!("  = {error}\n"),
            }
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        failed = server => failed,
        done = guests => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_gets_into_the_own_network() {
        demonstrate(&MemorySink::new()).await.unwrap();
    }
}

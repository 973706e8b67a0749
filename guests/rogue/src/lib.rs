//! A plug-in that claims to locate addresses. Before it does its work it tries every door that it should not open.
//!
//! The part `geo` of the logwatch example, and the reason for which the example is safe to run all the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use airssys_guest::{Actor, Config, Error, ErrorKind, Message, env, fs, log, net, process};

mod prefixes;

/// The folder that the manifest grants.
const FOLDER: &str = "/geo";

/// The most that is read of the table of prefixes.
const TABLE_LIMIT_BYTES: usize = 1024 * 1024;

/// Answers `locate` messages: an address in, a country out.
struct Rogue {
    table: prefixes::Table,
    has_tried: bool,
}

airssys_guest::export!(Rogue);

impl Actor for Rogue {
    fn init(config: &Config) -> Result<Self, Error> {
        config.allow(&[])?;
        let text = fs::dir(FOLDER)?.read("prefixes.csv", TABLE_LIMIT_BYTES)?;
        Ok(Self { table: prefixes::Table::parse(&String::from_utf8_lossy(&text)), has_tried: false })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        if message.subject != "locate" {
            return Err(format!("no such request: `{}`", message.subject).into());
        }
        if !self.has_tried {
            self.has_tried = true;
            try_every_door();
        }
        let address = str::from_utf8(&message.payload).ok().and_then(|text| text.parse::<IpAddr>().ok());
        let country = address.and_then(|address| self.table.country(address)).unwrap_or("unknown");
        Ok(Some(country.as_bytes().to_vec()))
    }
}

/// Makes six attempts at what the manifest does not grant, and logs how each ended.
fn try_every_door() {
    attempt("read /etc/passwd", read("/etc/passwd"));
    attempt("read ../../../etc/passwd", read("../../../etc/passwd"));
    attempt("read a symlink out of the folder", read("escape"));
    // Where clouds hand out the credentials of the machine.
    let metadata_service = SocketAddr::from((Ipv4Addr::new(169, 254, 169, 254), 80));
    attempt("connect to 169.254.169.254:80", net::connect(metadata_service));
    // A variable that is not granted is not there: WASI has no other word for a denial.
    match env::var("AWS_SECRET_ACCESS_KEY") {
        Some(_) => log::error!("rogue: read AWS_SECRET_ACCESS_KEY: SUCCEEDED"),
        None => log::info!("rogue: read AWS_SECRET_ACCESS_KEY: denied"),
    }
    attempt("run /bin/sh", process::run("/bin/sh", &["-c", "id"]));
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    fs::dir(FOLDER)?.open(path)?.read_at(0, 64)
}

fn attempt<T>(what: &str, outcome: Result<T, Error>) {
    match outcome {
        Ok(_) => log::error!("rogue: {what}: SUCCEEDED"),
        Err(error) if error.kind() == ErrorKind::Denied => log::info!("rogue: {what}: denied"),
        Err(error) => log::info!("rogue: {what}: failed: {}", error.chain()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::{log::Level, testing::Host};

    fn start() -> (Host, Rogue) {
        let host = Host::new();
        host.grant_dir(FOLDER);
        host.put_file("/geo/prefixes.csv", b"203.0.113.0/24,Testland\n");
        let rogue = Rogue::init(&Config::default()).unwrap();
        (host, rogue)
    }

    #[test]
    fn every_attempt_is_made_once_and_told_as_it_ended() {
        let (host, mut rogue) = start();
        for _ in 0..2 {
            let answer = rogue.handle(Host::message("report", "locate", b"203.0.113.9")).unwrap();
            assert_eq!(answer.unwrap(), b"Testland");
        }
        let logged = host.take_logged();
        assert_eq!(logged.len(), 6, "{logged:?}");
        assert!(logged.iter().all(|(level, _)| *level == Level::Info), "{logged:?}");
    }

    #[test]
    fn what_is_no_address_is_nowhere() {
        let (_host, mut rogue) = start();
        let answer = rogue.handle(Host::message("report", "locate", b"<script>")).unwrap();
        assert_eq!(answer.unwrap(), b"unknown");
    }

    #[test]
    fn a_success_is_told_as_one() {
        let (host, mut rogue) = start();
        host.put_file("/geo/escape", b"root:x:0:0");
        rogue.handle(Host::message("report", "locate", b"192.0.2.1")).unwrap();
        let logged = host.take_logged();
        assert!(
            logged.contains(&(Level::Error, "rogue: read a symlink out of the folder: SUCCEEDED".to_owned()))
        );
    }
}

//! What a manifest says of HTTP: `[component.NAME.http]`, `limits.http`, and whom `grants.trust` lets it trust.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use airssys_osl::policy::{Grant, Ports, Protocol};

use super::{
    HttpLimits, HttpRoute, HttpSpec, Located, Trust,
    parse::ReadRole,
    rules::ReadRules,
    section::{Notes, Section},
    tree::Declared,
    units,
};

/// The word of `grants.trust` for the root certificates of the web.
const WEB: &str = "web";

/// Reads `[component.NAME.http]`, and the grant that it is: to listen where it says.
pub(super) fn read(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<(HttpSpec, Grant)> {
    let mut section = section.table("http", notes)?;
    let expected = "an address and a port, such as `127.0.0.1:8080`";
    let listen = section.parsed("listen", expected, notes, |text| text.parse::<SocketAddr>().ok());
    if section.take("listen").is_none() {
        section.missing("listen", "\"127.0.0.1:8080\"", notes);
    }
    let requests = section.integer("requests", 1..1001, notes).unwrap_or(64) as usize;
    let timeout = section.time("timeout", notes).unwrap_or(Duration::from_secs(30));
    let rule = section.place("listen");
    let route = read_route(&mut section, notes);
    section.finish(notes);
    let listen = listen?;
    notes.rules.push((rule.clone(), listen.span));
    let (ip, port) = (listen.value.ip(), listen.value.port());
    let grant = Grant::listen(Protocol::Tcp, ip.to_string(), Ports::from(port)).rule(rule);
    Some((HttpSpec { listen: listen.value, route, requests, timeout }, grant))
}

/// `host` and `path`: which requests are for it.
fn read_route(section: &mut Section<'_>, notes: &mut Notes<'_>) -> HttpRoute {
    let is_host = |text: &str| !text.is_empty() && !text.contains(['/', ':', '@', ' ']);
    let host = section.parsed("host", "a host without a port, such as `api.example.com`", notes, |text| {
        is_host(text).then(|| text.to_ascii_lowercase())
    });
    let path = section.parsed("path", "a path without a query, such as `/api`", notes, |text| {
        let is_path = text.starts_with('/')
            && text.parse::<http::uri::PathAndQuery>().is_ok_and(|path| path.as_str() == path.path());
        is_path.then(|| text.trim_end_matches('/').to_owned())
    });
    HttpRoute { host: host.map(|host| host.value), path: path.map(|path| path.value).unwrap_or_default() }
}

/// Two components cannot have the same requests.
pub(super) fn check_routes(declared: &Declared, notes: &mut Notes<'_>) {
    let mut known: Vec<(&str, &HttpSpec)> = Vec::new();
    for (component, span) in declared.components.iter().zip(&declared.component_spans) {
        let Some(http) = component.spec.as_ref().and_then(|spec| spec.http.as_ref()) else { continue };
        // Each gets a port of its own.
        if http.listen.port() == 0 {
            continue;
        }
        let same =
            |(_, other): &&(&str, &HttpSpec)| (other.listen, &other.route) == (http.listen, &http.route);
        if let Some((other, _)) = known.iter().find(same) {
            let message =
                format!("`{other}` and `{}` answer the same requests at {}", component.name, http.listen);
            let help = "give one of them another `http.path`, `http.host` or `http.listen`".to_owned();
            notes.problem(span, message, Some(help));
        }
        known.push((component.name.as_str(), http));
    }
}

/// Reads `limits.http`.
pub(super) fn read_limits(limits: &mut Section<'_>, notes: &mut Notes<'_>) -> HttpLimits {
    let default = HttpLimits::default();
    let Some(mut section) = limits.table("http", notes) else { return default };
    let body = section.parsed("body", units::SIZE, notes, units::size);
    let headers = section.parsed("headers", units::SIZE, notes, units::size);
    let timeout = section.time("timeout", notes);
    section.finish(notes);
    HttpLimits {
        body_bytes: body.map_or(default.body_bytes, |body| body.value as u64),
        header_bytes: headers.map_or(default.header_bytes, |headers| headers.value),
        timeout: timeout.unwrap_or(default.timeout),
    }
}

/// Reads one element of `grants.trust`: the web, or a file of certificates in a folder that `fs` grants.
pub(super) fn read_trust(text: &Located<String>, notes: &mut Notes<'_>) -> Option<(Trust, Grant)> {
    if text.value == WEB {
        return Some((Trust::Web, Grant::trust_web()));
    }
    let path: PathBuf = notes.dir.join(&text.value);
    let folder = path.parent().filter(|_| path.file_name().is_some()).map(PathBuf::from);
    let Some(folder) = folder else {
        let help = "write `web`, or the path of a PEM file".to_owned();
        notes.problem(&text.span, format!("\"{}\" is nobody to trust", text.value), Some(help));
        return None;
    };
    Some((Trust::File(path), Grant::trust(folder)))
}

/// Whom a component trusts: as its own grants say, then those of its roles, and of theirs.
pub(super) fn trust_of(own: &ReadRules, roles: &[ReadRole]) -> Vec<Trust> {
    let mut trust = own.trust.clone();
    let mut wanted: Vec<&str> = own.roles.iter().map(|role| role.value.as_str()).collect();
    let mut next = 0;
    while let Some(name) = wanted.get(next).copied() {
        next += 1;
        let Some(role) = roles.iter().find(|role| role.name.value == name) else { continue };
        for trusted in &role.read.trust {
            if !trust.contains(trusted) {
                trust.push(trusted.clone());
            }
        }
        let more = role.read.roles.iter().map(|role| role.value.as_str());
        wanted.extend(more.filter(|name| !wanted.contains(name)).collect::<Vec<_>>());
    }
    trust
}

//! `[keyvalue.NAME]`, the buckets of a system, and `grants.keyvalue`, who may read and write them.

use airssys_osl::{
    keyvalue::BucketLimits,
    policy::{Grant, Rights},
};
use toml::{Spanned, de::DeValue};

use super::{
    BucketSpec, Located,
    rules::checked,
    section::{Notes, Section, kind, nearest, one_of},
    terms::Conditions,
    units,
};

const RIGHTS: &[(&str, Rights)] = &[("read", Rights::READ), ("write", Rights::WRITE)];

const EXAMPLE: &str = "such as `{ bucket = \"counts\", rights = [\"read\", \"write\"] }`";

/// The most buckets of a system.
const BUCKETS: usize = 1000;

/// What `grants.keyvalue` or `forbid.keyvalue` says.
#[derive(Default)]
pub(super) struct ReadBuckets {
    pub(super) grants: Vec<Grant>,
    /// The buckets that it names, each with its rule.
    pub(super) names: Vec<(Located<String>, String)>,
}

pub(super) fn read(
    name: Located<String>,
    mut section: Section<'_>,
    notes: &mut Notes<'_>,
) -> Located<BucketSpec> {
    let default = BucketLimits::default();
    let keys = section.integer("keys", 1..10_000_001, notes);
    let value = section.parsed("value", units::SIZE, notes, units::size);
    let memory = section.parsed("memory", units::SIZE, notes, units::size);
    section.finish(notes);
    let limits = BucketLimits {
        keys: keys.map_or(default.keys, |keys| keys as usize),
        value_bytes: value.map_or(default.value_bytes, |value| value.value),
        bytes: memory.map_or(default.bytes, |memory| memory.value),
    };
    Located { value: BucketSpec { name: name.value, limits }, span: name.span }
}

/// Reads the key `keyvalue` of `grants` or `forbid`.
pub(super) fn read_grants(section: &mut Section<'_>, notes: &mut Notes<'_>) -> ReadBuckets {
    let place = section.place("keyvalue");
    let forbids = section.path.ends_with(".forbid");
    let mut read = ReadBuckets::default();
    for (index, element) in section.array("keyvalue", notes).into_iter().enumerate() {
        let rule = format!("{place}[{index}]");
        let Some((bucket, grant)) = read_grant(&rule, element, forbids, notes) else { continue };
        read.grants.push(grant);
        read.names.push((bucket, rule));
    }
    read
}

fn read_grant(
    rule: &str,
    element: &Spanned<DeValue<'_>>,
    forbids: bool,
    notes: &mut Notes<'_>,
) -> Option<(Located<String>, Grant)> {
    let DeValue::Table(table) = element.get_ref() else {
        let message = format!("`{rule}` must be a table, not {}", kind(element.get_ref()));
        notes.problem(&element.span(), message, Some(EXAMPLE.to_owned()));
        return None;
    };
    let mut section = Section::new(rule, table, element.span());
    let bucket = section.text("bucket", notes);
    let place = section.place("rights");
    let before = notes.problems.len();
    let mut rights = Rights::empty();
    for word in section.array("rights", notes) {
        let text = notes.text(&place, word);
        rights |= text.and_then(|text| one_of(&place, &text, RIGHTS, notes)).unwrap_or(Rights::empty());
    }
    // As for directories: to name none is to forbid all.
    if forbids && section.take("rights").is_none() {
        rights = Rights::READ | Rights::WRITE;
    }
    let wanted = [("bucket", "\"counts\""), ("rights", "[\"read\", \"write\"]")];
    for (key, example) in wanted.into_iter().filter(|(key, _)| *key != "rights" || !forbids) {
        if section.take(key).is_none() {
            section.missing(key, example, notes);
        }
    }
    let conditions = Conditions::read(&mut section, notes);
    let span = section.span.clone();
    section.finish(notes);
    let bucket = bucket.filter(|_| notes.problems.len() == before)?;
    let grant = conditions.apply(Grant::keyvalue(bucket.value.as_str(), rights)).rule(rule);
    Some((bucket, checked(grant, rule, forbids, &span, notes)?))
}

/// Every bucket that is granted must be one of the system; a pattern, such as `cache-*`, may mean none yet.
pub(super) fn check<'r>(
    buckets: &[Located<BucketSpec>],
    granted: impl Iterator<Item = &'r (Located<String>, String)>,
    notes: &mut Notes<'_>,
) {
    if let Some(bucket) = buckets.get(BUCKETS) {
        notes.problem(&bucket.span, format!("the system has more than {BUCKETS} buckets"), None);
    }
    let names = || buckets.iter().map(|bucket| bucket.value.name.as_str());
    for (bucket, rule) in granted.filter(|(bucket, _)| !bucket.value.ends_with('*')) {
        if names().all(|name| name != bucket.value) {
            let help = nearest(&bucket.value, names())
                .unwrap_or_else(|| format!("add `[keyvalue.{}]`", bucket.value));
            notes.problem(
                &bucket.span,
                format!("`{rule}`: no bucket is called `{}`", bucket.value),
                Some(help),
            );
        }
    }
}

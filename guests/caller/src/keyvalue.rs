//! `wasi:keyvalue`, both drafts.

use crate::{
    bindings::wasi::keyvalue0_2_0_draft2::atomics::{self, Cas, CasError},
    script::{Call, Failed, Outcome, list, show, show_or_none},
    table::{Table, Value},
};

const DONE: &str = "ok";

/// What both drafts have.
macro_rules! draft {
    ($name:ident: $draft:ident, $kind:ident, $bucket:ident, $cursor:ty) => {
        impl From<crate::bindings::wasi::$draft::store::Error> for Failed {
            fn from(error: crate::bindings::wasi::$draft::store::Error) -> Self {
                use crate::bindings::wasi::$draft::store::Error;
                Self(match error {
                    Error::NoSuchStore => "no-such-store".to_owned(),
                    Error::AccessDenied => "access-denied".to_owned(),
                    Error::Other(text) => format!("other: {text}"),
                })
            }
        }

        pub(crate) fn $name(call: &mut Call, table: &mut Table) -> Outcome {
            use crate::bindings::wasi::$draft::{atomics, batch, store};

            let function = call.function.clone();
            if function == "open" {
                let bucket = store::open(&call.text()?)?;
                return table.keep(call, Value::$kind(bucket));
            }
            let bucket = table.$bucket(call)?;
            match function.as_str() {
                "get" => return Ok(show_or_none(bucket.get(&call.text()?)?)),
                "set" => bucket.set(&call.text()?, call.text()?.as_bytes())?,
                "delete" => bucket.delete(&call.text()?)?,
                "exists" => return Ok(bucket.exists(&call.text()?)?.to_string()),
                "list-keys" => {
                    let cursor = call.text_or_none()?;
                    let cursor = cursor.map(|cursor| cursor.parse::<$cursor>());
                    let cursor = cursor.transpose().map_err(|_| Failed("script: no cursor".to_owned()))?;
                    let page = bucket.list_keys(cursor.as_ref().map(|cursor| cursor.as_argument()))?;
                    let more = if page.cursor.is_some() { " and more" } else { "" };
                    let keys = list(page.keys.iter().map(|key| show(key.as_bytes())), " ");
                    return Ok(format!("{keys}{more}"));
                }
                "increment" => {
                    let (key, delta) = (call.text()?, call.word()?);
                    let delta = delta.parse().map_err(|_| Failed("script: no number".to_owned()))?;
                    return Ok(atomics::increment(bucket, &key, delta)?.to_string());
                }
                "get-many" => {
                    let pairs = batch::get_many(bucket, &call.texts()?)?;
                    let shown = pairs.iter().map(|pair| match pair {
                        Some((key, value)) => format!("{key} {}", show(value)),
                        None => "none".to_owned(),
                    });
                    return Ok(list(shown, ", "));
                }
                "set-many" => batch::set_many(bucket, &call.pairs()?)?,
                "delete-many" => batch::delete_many(bucket, &call.texts()?)?,
                _ => return Err(call.unknown()),
            }
            Ok(DONE.to_owned())
        }
    };
}

/// A cursor as `list-keys` takes it.
trait Cursor {
    type Argument<'a>
    where
        Self: 'a;

    fn as_argument(&self) -> Self::Argument<'_>;
}

impl Cursor for u64 {
    type Argument<'a> = u64;

    fn as_argument(&self) -> u64 {
        *self
    }
}

impl Cursor for String {
    type Argument<'a> = &'a str;

    fn as_argument(&self) -> &str {
        self
    }
}

draft!(first: keyvalue0_2_0_draft, Bucket, bucket, u64);
draft!(second: keyvalue0_2_0_draft2, Bucket2, bucket2, String);

/// `cas.new BUCKET 'key' >cas`; a swap that fails keeps the new one.
pub(crate) fn cas(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "new" => {
            let cas = Cas::new(table.bucket2(call)?, &call.text()?)?;
            table.keep(call, Value::Cas(cas))
        }
        "current" => Ok(show_or_none(table.cas(call)?.current()?)),
        "swap" => match atomics::swap(table.take_cas(call)?, call.text()?.as_bytes()) {
            Ok(()) => Ok(DONE.to_owned()),
            Err(CasError::CasFailed(fresh)) => {
                table.keep(call, Value::Cas(fresh))?;
                Ok("cas-failed".to_owned())
            }
            Err(CasError::StoreError(error)) => Err(error.into()),
        },
        _ => Err(call.unknown()),
    }
}

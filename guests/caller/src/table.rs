//! What a script has made, by its names.

use std::collections::BTreeMap;

use crate::{
    bindings::wasi::{
        blobstore::{
            container::{Container, StreamObjectNames},
            types::{IncomingValue, OutgoingValue},
        },
        filesystem::types::{Descriptor, DirectoryEntryStream},
        http::types::{
            Fields, FutureIncomingResponse, FutureTrailers, IncomingBody, IncomingRequest, IncomingResponse,
            OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam,
        },
        io::{
            poll::Pollable,
            streams::{InputStream, OutputStream},
        },
        keyvalue0_2_0_draft, keyvalue0_2_0_draft2,
        sockets::{
            ip_name_lookup::ResolveAddressStream,
            tcp::TcpSocket,
            udp::{IncomingDatagramStream, OutgoingDatagramStream, UdpSocket},
        },
    },
    script::{Call, Failed, Outcome},
};

/// Something that a function made.
pub(crate) enum Value {
    Pollable(Pollable),
    Input(InputStream),
    Output(OutputStream),
    Incoming(IncomingDatagramStream),
    Outgoing(OutgoingDatagramStream),
    Entries(DirectoryEntryStream),
    Names(ResolveAddressStream),
    Descriptor(Descriptor),
    Tcp(TcpSocket),
    Udp(UdpSocket),
    Number(u64),
    Fields(Fields),
    Request(OutgoingRequest),
    Options(RequestOptions),
    Future(FutureIncomingResponse),
    Answer(IncomingResponse),
    Content(IncomingBody),
    Trailers(FutureTrailers),
    Asked(IncomingRequest),
    Outparam(ResponseOutparam),
    Response(OutgoingResponse),
    Body(OutgoingBody),
    Bucket(keyvalue0_2_0_draft::store::Bucket),
    Bucket2(keyvalue0_2_0_draft2::store::Bucket),
    Cas(keyvalue0_2_0_draft2::atomics::Cas),
    Container(Container),
    Objects(StreamObjectNames),
    Written(OutgoingValue),
    Got(IncomingValue),
}

/// All that a script has made.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, Value>);

/// A method that gives what is kept by the name that comes next, where it is of this kind.
macro_rules! named {
    ($($method:ident: $variant:ident($ty:ty);)*) => {$(
        pub(crate) fn $method(&self, call: &mut Call) -> Result<&$ty, Failed> {
            let name = call.word()?;
            match self.0.get(&name) {
                Some(Value::$variant(value)) => Ok(value),
                _ => Err(Failed(format!("script: {name} is no {}", stringify!($method)))),
            }
        }
    )*};
}

/// A method that takes out what is kept by the name that comes next, where it is of this kind.
macro_rules! taken {
    ($($method:ident: $variant:ident($ty:ty);)*) => {$(
        pub(crate) fn $method(&mut self, call: &mut Call) -> Result<$ty, Failed> {
            let name = call.word()?;
            match self.0.remove(&name) {
                Some(Value::$variant(value)) => Ok(value),
                Some(other) => {
                    self.0.insert(name.clone(), other);
                    Err(Failed(format!("script: {name} is another thing than {} takes", stringify!($method))))
                }
                None => Err(Failed(format!("script: there is no {name}"))),
            }
        }
    )*};
}

impl Table {
    named! {
        pollable: Pollable(Pollable);
        input: Input(InputStream);
        output: Output(OutputStream);
        incoming: Incoming(IncomingDatagramStream);
        outgoing: Outgoing(OutgoingDatagramStream);
        entries: Entries(DirectoryEntryStream);
        names: Names(ResolveAddressStream);
        descriptor: Descriptor(Descriptor);
        tcp: Tcp(TcpSocket);
        udp: Udp(UdpSocket);
        fields: Fields(Fields);
        request: Request(OutgoingRequest);
        options: Options(RequestOptions);
        future: Future(FutureIncomingResponse);
        answer: Answer(IncomingResponse);
        content: Content(IncomingBody);
        trailers: Trailers(FutureTrailers);
        asked: Asked(IncomingRequest);
        response: Response(OutgoingResponse);
        body: Body(OutgoingBody);
        bucket: Bucket(keyvalue0_2_0_draft::store::Bucket);
        bucket2: Bucket2(keyvalue0_2_0_draft2::store::Bucket);
        cas: Cas(keyvalue0_2_0_draft2::atomics::Cas);
        container: Container(Container);
        objects: Objects(StreamObjectNames);
        written: Written(OutgoingValue);
        got: Got(IncomingValue);
    }

    taken! {
        take_fields: Fields(Fields);
        take_request: Request(OutgoingRequest);
        take_options: Options(RequestOptions);
        take_content: Content(IncomingBody);
        take_outparam: Outparam(ResponseOutparam);
        take_response: Response(OutgoingResponse);
        take_body: Body(OutgoingBody);
        take_cas: Cas(keyvalue0_2_0_draft2::atomics::Cas);
        take_written: Written(OutgoingValue);
        take_got: Got(IncomingValue);
    }

    /// Keeps something by a name that no script gives.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The number that comes next: digits, `$name`, or `$name+digits`.
    pub(crate) fn number(&self, call: &mut Call) -> Result<u64, Failed> {
        let word = call.word()?;
        let no_number = || Failed(format!("script: {word} is no number"));
        let (base, more) = word.split_once('+').unwrap_or((&word, "0"));
        let base = match base.strip_prefix('$') {
            Some(name) => match self.0.get(name) {
                Some(Value::Number(number)) => *number,
                _ => return Err(no_number()),
            },
            None => base.parse().map_err(|_| no_number())?,
        };
        Ok(base.saturating_add(more.parse().map_err(|_| no_number())?))
    }

    /// Keeps a result by the name that comes next; one that has none is dropped.
    pub(crate) fn keep(&mut self, call: &mut Call, value: Value) -> Outcome {
        match call.kept() {
            Some(name) => drop(self.0.insert(name, value)),
            None => drop(value),
        }
        Ok("ok".to_owned())
    }

    /// Drops what is kept by the name that comes next.
    pub(crate) fn remove(&mut self, call: &mut Call) -> Outcome {
        let name = call.word()?;
        match self.0.remove(&name) {
            Some(value) => drop(value),
            None => return Err(Failed(format!("script: there is no {name}"))),
        }
        Ok("ok".to_owned())
    }
}

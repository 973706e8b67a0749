//! The actor: the subject of a message is a verb, a container and an object, with colons between; its payload the rest.

use std::fmt::Debug;

use airssys_guest::{Actor, Config, Error, Message};

use crate::bindings::wasi::{
    blobstore::{
        blobstore::{self, ObjectId},
        container::{Container, StreamObjectNames},
        types::{IncomingValue, OutgoingValue},
    },
    io::streams::{InputStream, OutputStream, StreamError},
};

/// The most bytes that a stream takes in one call.
const CHUNK: usize = 4096;

pub(crate) struct Blobs;

/// What was told to do.
struct Order<'a> {
    container: &'a str,
    object: &'a str,
    payload: &'a [u8],
}

impl Actor for Blobs {
    fn init(_: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        let mut words = message.subject.splitn(3, ':');
        let mut word = || words.next().unwrap_or_default();
        let (verb, container, object) = (word(), word(), word());
        let order = Order { container, object, payload: &message.payload };
        let answer = order.about_containers(verb).or_else(|| order.about_objects(verb));
        let answer = answer.ok_or_else(|| format!("no such verb: `{verb}`"))?;
        Ok(Some(answer.into_bytes()))
    }
}

impl Order<'_> {
    fn about_containers(&self, verb: &str) -> Option<String> {
        let name = self.container;
        Some(match verb {
            "create" => told(blobstore::create_container(name).and_then(|made| made.name())),
            "find" => told(blobstore::get_container(name).and_then(|found| found.name())),
            "info" => told(self.container().and_then(|found| found.info()).map(|info| {
                format!(
                    "{} {}",
                    info.name,
                    if info.created_at > 1_000_000_000 { "since" } else { "at no time" }
                )
            })),
            "exists" => told(blobstore::container_exists(name)),
            "delete-container" => told(blobstore::delete_container(name)),
            "copy" => told(blobstore::copy_object(&self.id(), &self.other())),
            "move" => told(blobstore::move_object(&self.id(), &self.other())),
            "hoard" => hoard(name),
            "crowd" => crowd(name),
            _ => return None,
        })
    }

    fn about_objects(&self, verb: &str) -> Option<String> {
        let container = match self.container() {
            Ok(container) => container,
            Err(error) => return Some(error),
        };
        let name = self.object;
        Some(match verb {
            "put" => told(self.put(&container, true)),
            "put-first" => told(self.put(&container, false)),
            "put-refused" => told(self.put_refused(&container)),
            "put-empty" => told(finish(OutgoingValue::new_outgoing_value(), &container, name)),
            "put-unfinished" => told(self.write().map(drop)),
            "put-nowhere" => told(OutgoingValue::finish(OutgoingValue::new_outgoing_value())),
            "put-twice" => told(self.put_twice(&container)),
            "two-bodies" => self.two_bodies(),
            "finish-early" => self.finish_early(),
            "get" => text(container.get_data(name, 0, u64::MAX).and_then(whole)),
            "part" => text(self.part(&container).and_then(whole)),
            "size" => told(self.part(&container).map(|part| part.size())),
            "stream" => text(self.part(&container).and_then(streamed)),
            "held" => text(self.held(&container)),
            "list" => told(container.list_objects().and_then(|names| list(&names))),
            "pages" => told(container.list_objects().and_then(|names| self.pages(&names))),
            "delete" => told(container.delete_object(name)),
            "delete-all" => told(container.delete_objects(&self.names())),
            "has" => told(container.has_object(name)),
            "object" => told(container.object_info(name).map(|info| {
                let since = if info.created_at > 1_000_000_000 { "since" } else { "at no time" };
                format!("{}/{} {} {since}", info.container, info.name, info.size)
            })),
            "clear" => told(container.clear()),
            "flood" => flood(&container),
            _ => return None,
        })
    }

    fn container(&self) -> Result<Container, String> {
        blobstore::get_container(self.container)
    }

    fn id(&self) -> ObjectId {
        ObjectId { container: self.container.to_owned(), object: self.object.to_owned() }
    }

    /// The payload as `CONTAINER/OBJECT`.
    fn other(&self) -> ObjectId {
        let text = String::from_utf8_lossy(self.payload);
        let (container, object) = text.split_once('/').unwrap_or_default();
        ObjectId { container: container.to_owned(), object: object.to_owned() }
    }

    /// The payload as names with blanks between.
    fn names(&self) -> Vec<String> {
        String::from_utf8_lossy(self.payload).split(' ').map(str::to_owned).collect()
    }

    /// The payload as two numbers.
    fn numbers(&self) -> (u64, u64) {
        let names = self.names();
        let number = |at: usize| names.get(at).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        (number(0), number(1))
    }

    /// Writes the payload, as often as the object's name says where that ends in `*NUMBER`.
    fn put(&self, container: &Container, body_first: bool) -> Result<(), String> {
        if body_first {
            let value = self.write()?;
            return finish(value, container, self.object);
        }
        let value = OutgoingValue::new_outgoing_value();
        container.write_data(self.object, &value)?;
        self.body(&value)?;
        OutgoingValue::finish(value)
    }

    fn write(&self) -> Result<OutgoingValue, String> {
        let value = OutgoingValue::new_outgoing_value();
        self.body(&value)?;
        Ok(value)
    }

    fn body(&self, value: &OutgoingValue) -> Result<(), String> {
        let stream = value.outgoing_value_write_body().map_err(|()| "no stream".to_owned())?;
        let times = self.object.split_once('*').and_then(|(_, times)| times.parse().ok()).unwrap_or(1_u32);
        for _ in 0..times {
            // What cannot be written is told by `finish`.
            if write_all(&stream, self.payload).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn put_twice(&self, container: &Container) -> Result<(), String> {
        let value = self.write()?;
        container.write_data("one", &value)?;
        finish(value, container, "other")
    }

    /// Finishes a value for which there was no stream, as too many files were open when it was asked for.
    fn put_refused(&self, container: &Container) -> Result<(), String> {
        let value = OutgoingValue::new_outgoing_value();
        let mut lists = Vec::new();
        while let Ok(list) = container.list_objects() {
            lists.push(list);
        }
        if value.outgoing_value_write_body().is_ok() {
            return Err("there is a stream".to_owned());
        }
        drop(lists);
        finish(value, container, self.object)
    }

    fn two_bodies(&self) -> String {
        let value = OutgoingValue::new_outgoing_value();
        let first = value.outgoing_value_write_body().is_ok();
        format!("{first} {}", value.outgoing_value_write_body().is_ok())
    }

    /// Finishes a value whose stream is still there, which ends the guest.
    fn finish_early(&self) -> String {
        let value = OutgoingValue::new_outgoing_value();
        let stream = value.outgoing_value_write_body();
        let finished = OutgoingValue::finish(value);
        format!("{finished:?} {}", stream.is_ok())
    }

    fn part(&self, container: &Container) -> Result<IncomingValue, String> {
        let (start, end) = self.numbers();
        container.get_data(self.object, start, end)
    }

    /// What was got stays what it was.
    fn held(&self, container: &Container) -> Result<Vec<u8>, String> {
        let value = container.get_data(self.object, 0, u64::MAX)?;
        self.put(container, true)?;
        container.delete_object(self.object)?;
        whole(value)
    }

    /// Reads and leaves out names in turns, so many at a time: how many there were of each.
    fn pages(&self, names: &StreamObjectNames) -> Result<String, String> {
        let (length, _) = self.numbers();
        let (mut read, mut skipped) = (0, 0);
        loop {
            let (page, end) = names.read_stream_object_names(length)?;
            read += page.len();
            if end {
                break;
            }
            let (count, end) = names.skip_stream_object_names(length)?;
            skipped += count;
            if end {
                break;
            }
        }
        Ok(format!("{read} {skipped}"))
    }
}

fn finish(value: OutgoingValue, container: &Container, name: &str) -> Result<(), String> {
    container.write_data(name, &value)?;
    OutgoingValue::finish(value)
}

fn write_all(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(CHUNK).try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

fn whole(value: IncomingValue) -> Result<Vec<u8>, String> {
    IncomingValue::incoming_value_consume_sync(value)
}

fn streamed(value: IncomingValue) -> Result<Vec<u8>, String> {
    let stream: InputStream = IncomingValue::incoming_value_consume_async(value)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn list(names: &StreamObjectNames) -> Result<String, String> {
    let mut all = Vec::new();
    loop {
        let (page, end) = names.read_stream_object_names(2)?;
        all.extend(page);
        if end {
            all.sort();
            return Ok(all.join(" "));
        }
    }
}

/// Puts objects until one is refused.
fn flood(container: &Container) -> String {
    let mut number = 0_u32;
    loop {
        match finish(OutgoingValue::new_outgoing_value(), container, &format!("flood-{number}")) {
            Ok(()) => number += 1,
            Err(error) => return format!("{number}: {error}"),
        }
    }
}

/// Lists a container until that is refused, and holds all lists.
fn hoard(name: &str) -> String {
    let mut held = Vec::new();
    loop {
        match blobstore::get_container(name).and_then(|container| container.list_objects()) {
            Ok(names) => held.push(names),
            Err(error) => return format!("{}: {error}", held.len()),
        }
    }
}

/// Finds a container until that is refused, and creates another one while it holds all these.
fn crowd(name: &str) -> String {
    let mut held = Vec::new();
    while let Ok(container) = blobstore::get_container(name) {
        held.push(container);
    }
    told(blobstore::create_container("late").map(drop))
}

/// The bytes as text, or how many they are.
fn text(bytes: Result<Vec<u8>, String>) -> String {
    match bytes {
        Ok(bytes) if bytes.len() > 100 => format!("{} bytes", bytes.len()),
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => error,
    }
}

fn told<T: Debug>(result: Result<T, String>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => error,
    }
}

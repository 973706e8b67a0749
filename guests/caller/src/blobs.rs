//! `wasi:blobstore`.

use crate::{
    bindings::wasi::blobstore::{
        blobstore as containers,
        types::{IncomingValue, ObjectId, OutgoingValue},
    },
    script::{Call, Failed, Outcome, list, show},
    table::{Table, Value},
};

const DONE: &str = "ok";

/// The seconds from 1970 to the year in which this was written.
const WRITTEN: u64 = 1_767_225_600;

fn since(time: u64) -> &'static str {
    if time > WRITTEN { "of late" } else { "long ago" }
}

pub(crate) fn blobstore(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "create-container" => {
            let made = containers::create_container(&call.text()?)?;
            return table.keep(call, Value::Container(made));
        }
        "get-container" => {
            let found = containers::get_container(&call.text()?)?;
            return table.keep(call, Value::Container(found));
        }
        "delete-container" => containers::delete_container(&call.text()?)?,
        "container-exists" => return Ok(containers::container_exists(&call.text()?)?.to_string()),
        "copy-object" => containers::copy_object(&object(call)?, &object(call)?)?,
        "move-object" => containers::move_object(&object(call)?, &object(call)?)?,
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// A container and an object in it, in quotes each.
fn object(call: &mut Call) -> Result<ObjectId, Failed> {
    Ok(ObjectId { container: call.text()?, object: call.text()? })
}

pub(crate) fn container(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let container = table.container(call)?;
    match function.as_str() {
        "name" => return Ok(show(container.name()?.as_bytes())),
        "info" => {
            let info = container.info()?;
            return Ok(format!("{} {}", show(info.name.as_bytes()), since(info.created_at)));
        }
        "get-data" => {
            let (name, start) = (call.text()?, table.number(call)?);
            let value = container.get_data(&name, start, table.number(call)?)?;
            return table.keep(call, Value::Got(value));
        }
        "write-data" => container.write_data(&call.text()?, table.written(call)?)?,
        "list-objects" => {
            let names = container.list_objects()?;
            return table.keep(call, Value::Objects(names));
        }
        "delete-object" => container.delete_object(&call.text()?)?,
        "delete-objects" => container.delete_objects(&call.texts()?)?,
        "has-object" => return Ok(container.has_object(&call.text()?)?.to_string()),
        "object-info" => {
            let info = container.object_info(&call.text()?)?;
            let (container, name) = (show(info.container.as_bytes()), show(info.name.as_bytes()));
            return Ok(format!("{container} {name} {} {}", info.size, since(info.created_at)));
        }
        "clear" => container.clear()?,
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// Names in their order, as the host has none; `end` behind the last.
pub(crate) fn names(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let names = table.objects(call)?;
    let count = table.number(call)?;
    let (told, is_end) = match function.as_str() {
        "read-stream-object-names" => {
            let (mut page, is_end) = names.read_stream_object_names(count)?;
            page.sort();
            (list(page.iter().map(|name| show(name.as_bytes())), " "), is_end)
        }
        "skip-stream-object-names" => {
            let (skipped, is_end) = names.skip_stream_object_names(count)?;
            (skipped.to_string(), is_end)
        }
        _ => return Err(call.unknown()),
    };
    Ok(format!("{told}{}", if is_end { " end" } else { "" }))
}

pub(crate) fn outgoing(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "new-outgoing-value" => table.keep(call, Value::Written(OutgoingValue::new_outgoing_value())),
        "outgoing-value-write-body" => {
            let stream = table.written(call)?.outgoing_value_write_body()?;
            table.keep(call, Value::Output(stream))
        }
        "finish" => {
            OutgoingValue::finish(table.take_written(call)?)?;
            Ok(DONE.to_owned())
        }
        _ => Err(call.unknown()),
    }
}

pub(crate) fn incoming(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "size" => Ok(table.got(call)?.size().to_string()),
        "incoming-value-consume-sync" => {
            let bytes = IncomingValue::incoming_value_consume_sync(table.take_got(call)?)?;
            Ok(show(&bytes))
        }
        "incoming-value-consume-async" => {
            let stream = IncomingValue::incoming_value_consume_async(table.take_got(call)?)?;
            table.keep(call, Value::Input(stream))
        }
        _ => Err(call.unknown()),
    }
}

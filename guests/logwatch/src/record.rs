//! One parsed line.

/// What the statistics want to know about one line of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When, in seconds since 1970 in UTC.
    pub time: i64,
    /// How many bytes the body of the response had.
    pub bytes: u64,
    /// The status of the response.
    pub status: u16,
    /// Whether the request looks like an attack.
    pub suspicious: bool,
    /// The method. What is over 255 bytes is cut.
    pub method: &'a [u8],
    /// The path, decoded and without its query. What is over 255 bytes is cut.
    pub path: &'a [u8],
    /// Who asked: an address, or a name where the server resolved it. What is over 255 bytes is cut.
    pub client: &'a [u8],
}

impl<'a> Record<'a> {
    /// Writes the record into `out`, in the place of what is there.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (method, method_length) = cut(self.method);
        let (path, path_length) = cut(self.path);
        let (client, _) = cut(self.client);
        out.clear();
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[u8::from(self.suspicious), method_length, path_length]);
        out.extend_from_slice(method);
        out.extend_from_slice(path);
        out.extend_from_slice(client);
    }

    /// Reads a record. None where it is not one that [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (status, rest) = rest.split_first_chunk()?;
        let (&[suspicious, method_length, path_length], rest) = rest.split_first_chunk()?;
        let (method, rest) = rest.split_at_checked(usize::from(method_length))?;
        let (path, client) = rest.split_at_checked(usize::from(path_length))?;
        Some(Self {
            time: i64::from_le_bytes(*time),
            bytes: u64::from_le_bytes(*size),
            status: u16::from_le_bytes(*status),
            suspicious: suspicious != 0,
            method,
            path,
            client,
        })
    }
}

/// At most 255 bytes, and how many.
fn cut(text: &[u8]) -> (&[u8], u8) {
    match u8::try_from(text.len()) {
        Ok(length) => (text, length),
        Err(_) => (text.get(..255).unwrap_or_default(), 255),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'_> = Record {
        time: -1,
        bytes: u64::MAX,
        status: 404,
        suspicious: true,
        method: b"GET",
        path: b"/a",
        client: b"2001:db8::1",
    };

    #[test]
    fn what_was_written_is_read() {
        let mut out = b"left over".to_vec();
        RECORD.encode(&mut out);
        assert_eq!(Record::decode(&out), Some(RECORD));
    }

    #[test]
    fn a_torn_record_is_none() {
        let mut out = Vec::new();
        RECORD.encode(&mut out);
        let fixed = out.len() - RECORD.client.len();
        assert!((0..fixed).all(|length| Record::decode(&out[..length]).is_none()));
    }

    #[test]
    fn long_fields_are_cut() {
        let long = [b'A'; 300];
        let mut out = Vec::new();
        Record { method: &long, path: &long, client: &long, ..RECORD }.encode(&mut out);
        let read = Record::decode(&out).unwrap();
        assert_eq!((read.method.len(), read.path.len(), read.client.len()), (255, 255, 255));
    }
}

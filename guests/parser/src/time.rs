//! The time of a log: `10/Oct/2000:13:55:36 -0700`.

use logwatch::calendar;

/// How long it is.
pub(crate) const LENGTH: usize = 26;

/// Parses a time, into seconds since 1970 in UTC.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let &[
        d1,
        d2,
        b'/',
        m1,
        m2,
        m3,
        b'/',
        y1,
        y2,
        y3,
        y4,
        b':',
        h1,
        h2,
        b':',
        i1,
        i2,
        b':',
        s1,
        s2,
        b' ',
        sign,
        oh1,
        oh2,
        oi1,
        oi2,
    ] = text
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let month = month([m1, m2, m3])?;
    let day = at_most(two(d1, d2)?, calendar::days_in_month(year, month)).filter(|day| *day > 0)?;
    let (hour, minute, second) =
        (at_most(two(h1, h2)?, 23)?, at_most(two(i1, i2)?, 59)?, at_most(two(s1, s2)?, 60)?);
    let offset = at_most(two(oh1, oh2)?, 23)? * 3_600 + at_most(two(oi1, oi2)?, 59)? * 60;
    let local = calendar::days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    match sign {
        b'+' => Some(local - offset),
        b'-' => Some(local + offset),
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let digit = |byte: u8| byte.checked_sub(b'0').filter(|digit| *digit < 10).map(i64::from);
    Some(digit(tens)? * 10 + digit(ones)?)
}

fn at_most(value: i64, limit: i64) -> Option<i64> {
    (value <= limit).then_some(value)
}

/// January is 1.
fn month(name: [u8; 3]) -> Option<i64> {
    Some(match &name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn known_times() {
        check("01/Jan/1970:00:00:00 +0000", Some(0));
        check("10/Oct/2000:13:55:36 -0700", Some(971_211_336));
        check("29/Feb/2024:23:59:59 +0000", Some(1_709_251_199));
        check("01/Mar/2024:05:29:59 +0530", Some(1_709_251_199));
        check("31/Dec/1969:23:59:59 +0000", Some(-1));
        check("01/Mar/2100:00:00:00 +0000", Some(4_107_542_400));
    }

    #[test]
    fn days_that_do_not_exist() {
        check("30/Feb/2024:00:00:00 +0000", None);
        check("29/Feb/2100:00:00:00 +0000", None);
        check("00/Jan/2024:00:00:00 +0000", None);
        check("31/Apr/2024:00:00:00 +0000", None);
    }

    #[test]
    fn what_is_no_time() {
        check("", None);
        check("01/jan/2024:00:00:00 +0000", None);
        check("01/Jan/2024:24:00:00 +0000", None);
        check("01/Jan/2024:00:00:00 *0000", None);
        check("01/Jan/2024:00:00:00 +00:0", None);
        check("0x/Jan/2024:00:00:00 +0000", None);
    }
}

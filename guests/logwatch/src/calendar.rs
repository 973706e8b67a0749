//! Dates of the Gregorian calendar and hours in UTC, as numbers and as text.

/// How many days a month has; January is 1.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Both ways count in years that begin in March, so that the leap day is the last of one, and in eras of 400 such
// years, which all have the same number of days.
const DAYS_PER_ERA: i64 = 146_097;
const DAYS_BEFORE_1970: i64 = 719_468;

/// The days from 1970-01-01 to a date.
pub fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_before_month = (153 * month_from_march + 2) / 5;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + days_before_month + day - 1 - DAYS_BEFORE_1970
}

/// Year, month and day of a day since 1970-01-01.
pub fn date(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The name of an hour since 1970: `2026-11-22T09`.
pub fn hour_name(hours_since_1970: i64) -> String {
    let (year, month, day) = date(hours_since_1970.div_euclid(24));
    format!("{year:04}-{month:02}-{day:02}T{:02}", hours_since_1970.rem_euclid(24))
}

/// The hour since 1970 that a name names.
pub fn parse_hour(name: &str) -> Option<i64> {
    let (date, hour) = name.split_once('T')?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    Some(days_since_1970(year, month, day) * 24 + hour.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hours() {
        for (hour, name) in [
            (0, "1970-01-01T00"),
            (-1, "1969-12-31T23"),
            (1_709_251_199 / 3_600, "2024-02-29T23"),
            (4_107_542_400 / 3_600, "2100-03-01T00"),
            (1_795_341_600 / 3_600, "2026-11-22T10"),
        ] {
            assert_eq!((hour_name(hour).as_str(), parse_hour(name)), (name, Some(hour)));
        }
    }

    #[test]
    fn every_day_of_800_years_there_and_back() {
        let (mut year, mut month, mut day) = (1_700, 1, 1);
        for days in days_since_1970(year, month, day)..days_since_1970(2_500, 1, 1) {
            assert_eq!((date(days), days_since_1970(year, month, day)), ((year, month, day), days));
            day += 1;
            if day > days_in_month(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn what_is_no_hour() {
        assert_eq!([parse_hour(""), parse_hour("2026-11T1"), parse_hour("2026-11-22T")], [None; 3]);
    }
}

//! The date in a `Retry-After`. In: any of the three forms that RFC 9110 (5.6.7) has recipients accept. Out: seconds of
//! Unix time. Refuses years before 1970 and days that a month does not have; what a weekday is called does not matter.

const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// Reads a date.
pub(super) fn parse(text: &str) -> Option<u64> {
    let mut words = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).skip(1);
    let (first, second, third, fourth) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_asctime = first.bytes().all(|b| b.is_ascii_alphabetic());
    let (day, month, year, time) =
        if is_asctime { (second, first, fourth, third) } else { (first, second, third, fourth) };
    // Only asctime names no zone; the others name this one.
    if words.next() != (!is_asctime).then_some("GMT") || words.next().is_some() {
        return None;
    }
    let day = number(day)?.checked_sub(1)?;
    let year = match (year.len(), number(year)?) {
        (2, year @ 0..70) => year.checked_add(30)?,
        (2, year) => year.checked_sub(70)?,
        (_, year) => year.checked_sub(1970)?,
    };
    let mut time = time.split(':');
    let mut clock = |below: u64| number(time.next()?).filter(|n| *n < below);
    // A leap second counts as the first of the next minute.
    let (hour, minute, second) = (clock(24)?, clock(60)?, clock(61)?);
    if time.next().is_some() {
        return None;
    }
    let is_leap = is_leap(year.checked_add(1970)?);
    let mut days = year.checked_mul(365)?;
    days = days.checked_add((1970..year.checked_add(1970)?).filter(|year| self::is_leap(*year)).count() as u64)?;
    for (name, length) in MONTHS {
        let length = if name == "Feb" && is_leap { 29 } else { length };
        if name == month {
            let days = days.checked_add(Some(day).filter(|day| *day < length)?)?;
            let minutes = days.checked_mul(24)?.checked_add(hour)?.checked_mul(60)?.checked_add(minute)?;
            return minutes.checked_mul(60)?.checked_add(second);
        }
        days = days.checked_add(length)?;
    }
    None
}

fn number(digits: &str) -> Option<u64> {
    ((1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_day_and_second_of_two_leap_cycles_is_read_back() {
        // A prime number of seconds, so that all times of day come up.
        for seconds in (0..150 * 366 * 86_400u64).step_by(80_021) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(parse(&text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let good = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        assert_eq!(good.map(parse), [Some(784_111_777); 3]);
        assert_eq!(parse("Sunday, 06-Nov-33 08:49:37 GMT"), parse("Sun, 06 Nov 2033 08:49:37 GMT"));
        let bad = [
            "",
            "soon",
            "120",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 11994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Tue, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! Hints for a name that does not exist: the name that was probably meant, or the names that exist.

/// The most names that an error lists.
const MOST: usize = 5;

/// Returns the name that was probably meant: at most a third of its letters are wrong.
#[must_use]
pub fn nearest(name: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .min_by_key(|other| distance(name, other))
        .filter(|other| distance(name, other) * 3 <= other.len().max(3))
        .cloned()
}

fn distance(name: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(name, other)
}

/// Returns the hint that an error ends with.
pub(super) fn suggestion(name: &str, nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None if known.is_empty() => "; the configuration has none".to_owned(),
        None => format!("; known names: {}", some_of(name, known)),
    }
}

/// Lists up to five names in their order. Of more names, lists the five that are nearest to the mistyped one, and the
/// number of the others: a large site has thousands of backends.
pub(crate) fn some_of(name: &str, known: &[String]) -> String {
    if known.len() <= MOST {
        return known.join(", ");
    }
    let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
    names.sort_by_cached_key(|other| distance(name, other));
    format!("{} and {} more", names[..MOST].join(", "), names.len() - MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn up_to_five_names_are_listed_in_their_order() {
        let known = names(&["web", "pay", "mobile", "static", "api"]);
        assert_eq!(suggestion("checkout", None, &known), "; known names: web, pay, mobile, static, api");
        assert_eq!(suggestion("checkout", None, &[]), "; the configuration has none");
    }

    #[test]
    fn of_many_names_the_five_nearest_are_listed_and_the_others_counted() {
        let mut known: Vec<String> =
            (0..4000).map(|number| format!("internal-service-{number:04}")).collect();
        known.extend(names(&["pay-eu", "pay-us", "web-eu", "pay-de", "payments"]));
        assert_eq!(
            suggestion("pay-asia", None, &known),
            "; known names: pay-us, pay-eu, pay-de, payments, web-eu and 4000 more"
        );
        assert_eq!(suggestion("pay-ue", Some("pay-eu"), &known), "; did you mean pay-eu?");
    }

    #[test]
    fn a_name_is_near_when_at_most_a_third_of_it_is_wrong() {
        let known = names(&["mobile", "web"]);
        assert_eq!(nearest("mboile", &known).as_deref(), Some("mobile"));
        assert_eq!(nearest("wbe", &known).as_deref(), Some("web"));
        assert_eq!(nearest("tablet", &known), None);
    }
}

//! Cover pages: a template, filled in.
//!
//! Owns: the built-in template and the names a template may use. Refuses: to draw; what comes out is
//! a text, and becomes a page where all texts do.

/// What a template may name, in double braces.
pub const NAMES: [&str; 8] =
    ["to.name", "to.number", "from.name", "from.number", "subject", "pages", "date", "note"];
/// Longest template, in characters.
pub const TEMPLATE_CHARS: usize = 4000;

/// The built-in template. Of its lines those stay out that would say nothing.
pub const TEMPLATE: &str = "F A X
────────────────────────────────────────────────────────────────────────────────

To:        {{to.name}}
Fax:       {{to.number}}

From:      {{from.name}}
Fax:       {{from.number}}

Date:      {{date}}
Pages:     {{pages}}, with this one
Subject:   {{subject}}

────────────────────────────────────────────────────────────────────────────────

{{note}}
";

/// What stands on a cover page.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// Whom it is for.
    pub to_name: Option<String>,
    /// The number it goes to, as one reads it.
    pub to_number: String,
    /// Whom it is from.
    pub from_name: Option<String>,
    /// The number it comes from.
    pub from_number: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Some words.
    pub note: Option<String>,
    /// The day.
    pub date: String,
}

impl Cover {
    /// The text of the page in front of a fax that has `pages` with it.
    pub fn text(&self, template: &str, pages: u32) -> String {
        let template = if template.is_empty() { TEMPLATE } else { template };
        let lines = template.lines().filter_map(|line| self.line(line, pages));
        lines.fold(String::new(), |text, line| text + &line + "\n")
    }

    /// One line filled in; nothing of a line that names something and all it names is empty.
    fn line(&self, line: &str, pages: u32) -> Option<String> {
        let (mut filled, mut rest) = (String::new(), line);
        let (mut names, mut values) = (0, 0);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { break };
            let value = self.value(name.trim(), pages);
            names += 1;
            values += usize::from(!value.is_empty());
            filled.push_str(before);
            // Said in place of the name, and never looked at again: a note may have braces.
            filled.push_str(&value);
            rest = after;
        }
        filled.push_str(rest);
        (names == 0 || values > 0).then_some(filled)
    }

    fn value(&self, name: &str, pages: u32) -> String {
        let given = |value: &Option<String>| value.clone().unwrap_or_default();
        match name {
            "to.name" => given(&self.to_name),
            "to.number" => self.to_number.clone(),
            "from.name" => given(&self.from_name),
            "from.number" => given(&self.from_number),
            "subject" => given(&self.subject),
            "note" => given(&self.note),
            "date" => self.date.clone(),
            "pages" => pages.to_string(),
            _ => String::new(),
        }
    }
}

/// Whether this is a template: not too long, and naming nothing that is not known.
pub fn is_template(text: &str) -> bool {
    let names = text.split("{{").skip(1).map(|rest| rest.split_once("}}").map(|(name, _)| name.trim()));
    text.chars().count() <= TEMPLATE_CHARS
        && names.into_iter().all(|name| name.is_some_and(|name| NAMES.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover() -> Cover {
        Cover {
            to_name: Some("Dr. B".to_owned()),
            to_number: "+1 212 555 1234".to_owned(),
            note: Some("See {{subject}}.\nThank you".to_owned()),
            date: "2026-11-29".to_owned(),
            ..Cover::default()
        }
    }

    #[test]
    fn lines_that_say_nothing_stay_out_and_values_are_taken_as_they_are() {
        let text = cover().text("", 3);
        assert!(text.contains("To:        Dr. B\nFax:       +1 212 555 1234\n"), "{text}");
        assert!(text.contains("Pages:     3, with this one"), "{text}");
        assert!(text.contains("See {{subject}}.\nThank you"), "{text}");
        assert!(!text.contains("From:") && !text.contains("Subject:"), "{text}");
        assert_eq!(cover().text("a {{ to.name }} b {{from.name}}\n{{subject}}\nend", 1), "a Dr. B b \nend\n");
    }

    #[test]
    fn a_template_names_what_is_known() {
        assert!(is_template(TEMPLATE) && is_template("") && is_template("plain }} text"));
        for wrong in ["{{to}}", "{{to.name", "{{}}", &"x".repeat(TEMPLATE_CHARS + 1)] {
            assert!(!is_template(wrong), "{wrong:.20}");
        }
        assert!(NAMES.iter().all(|name| TEMPLATE.contains(&format!("{{{{{name}}}}}"))));
    }
}

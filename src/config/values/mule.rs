//! Mules and farms: the values of `mule` and `farm`.

use crate::config::finding::{Fault, shortened};

use super::setting::{Parsed, Takes, Value};

/// The type of `mule`: a program. Without a program, the mule only handles messages and signals.
pub(crate) struct MuleText;

impl Value for MuleText {
    type Stored = String;
    type Ref<'a> = &'a str;
    const TAKES: Takes = Takes::Maybe;
    const ARG: &'static str = "PROGRAM";

    fn parse(text: &str) -> Parsed<String> {
        let program = match text.trim() {
            "true" | "1" => "",
            program => program,
        };
        Ok((program.to_owned(), None))
    }

    fn get(stored: &String) -> &str {
        stored
    }
}

/// The type of `farm`: a name and the ids of its mules.
pub(crate) struct FarmText;

impl Value for FarmText {
    type Stored = (String, Vec<u32>);
    type Ref<'a> = (&'a str, &'a [u32]);
    const ARG: &'static str = "NAME:MULE,...";

    fn parse(text: &str) -> Parsed<(String, Vec<u32>)> {
        let hint = "write a name and the numbers of its mules: mail:1,2";
        let (name, mules) = text
            .trim()
            .split_once(':')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Fault::new("the farm has no mules").hint(hint))?;
        let mules = mules.split(',').map(|id| {
            let id: u32 = id.trim().parse().unwrap_or(0);
            (id > 0)
                .then_some(id)
                .ok_or_else(|| Fault::new(format!("{} is not a farm", shortened(text))).hint(hint))
        });
        let mules = mules.collect::<Result<Vec<_>, _>>()?;
        Ok(((name.to_owned(), mules), None))
    }

    fn get(stored: &(String, Vec<u32>)) -> (&str, &[u32]) {
        (&stored.0, &stored.1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_farm_has_a_name_and_mules() {
        let (farm, _) = FarmText::parse("mail:1, 3").unwrap();
        assert_eq!(farm, ("mail".to_owned(), vec![1, 3]));
        for text in ["mail", ":1", "mail:", "mail:0", "mail:x"] {
            assert!(FarmText::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mule_may_have_a_program() {
        assert_eq!(MuleText::parse("true").unwrap().0, "");
        assert_eq!(MuleText::parse("work.py").unwrap().0, "work.py");
    }
}

//! Reads `.env` files: `NAME=value` lines, without any substitution.
//!
//! - The file is UTF-8, with or without a byte order mark; lines end with LF or CRLF.
//! - Empty lines and lines that begin with `#` are skipped. `export ` before a name is skipped too.
//! - A value without quotes is taken literally: `$`, `\`, quotes inside and `#` mean themselves. ` #` (a blank and `#`) begins a comment.
//!   A blank inside a value needs quotes.
//! - Between single quotes everything means itself. Between double quotes `\"`, `\\`, `\$` and `\n` stand for `"`, `\`, `$` and a line
//!   break; another `\` is a mistake. Only a comment may follow the closing quote. A quoted value ends on its own line.

use thiserror::Error;

/// A line that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The number of the line, from 1.
    pub number: usize,
    /// The name before the `=`.
    pub name: String,
    /// The value, without its quotes.
    pub value: String,
}

/// What is wrong with a line. The text of the line is not shown: it may hold a secret.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {number}: {mistake}")]
pub struct LineError {
    number: usize,
    mistake: &'static str,
}

/// Reads the lines of a file; each mistake is an error of its own.
pub fn parse(text: &str) -> Vec<Result<Line, LineError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().zip(1..).map(|(line, number)| (number, line.trim()));
    let settings = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parsed = settings.map(|(number, line)| match parse_line(line) {
        Ok((name, value)) => Ok(Line { number, name, value }),
        Err(mistake) => Err(LineError { number, mistake }),
    });
    parsed.collect()
}

fn parse_line(line: &str) -> Result<(String, String), &'static str> {
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (name, value) = line.split_once('=').ok_or("it is not NAME=value")?;
    let name = name.trim_end();
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if !is_name {
        return Err("the text before = is not a name of letters, digits and underscores");
    }
    let has_blank_first = value.starts_with([' ', '\t']);
    let value = value.trim_start();
    let value = match value.chars().next() {
        Some('\'') => single_quoted(value)?,
        Some('"') => double_quoted(value)?,
        Some('#') if has_blank_first => String::new(),
        _ => unquoted(value)?,
    };
    Ok((name.to_owned(), value))
}

fn single_quoted(value: &str) -> Result<String, &'static str> {
    let (value, rest) =
        value.strip_prefix('\'').and_then(|value| value.split_once('\'')).ok_or("the quote is not closed")?;
    only_a_comment(rest)?;
    Ok(value.to_owned())
}

fn double_quoted(value: &str) -> Result<String, &'static str> {
    let mut characters = value.chars();
    characters.next();
    let mut unquoted = String::new();
    loop {
        match characters.next() {
            None => return Err("the quote is not closed"),
            Some('"') => {
                only_a_comment(characters.as_str())?;
                return Ok(unquoted);
            }
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$')) => unquoted.push(escaped),
                Some('n') => unquoted.push('\n'),
                _ => return Err(r#"between double quotes only \", \\, \$ and \n may follow a \: use single quotes"#),
            },
            Some(other) => unquoted.push(other),
        }
    }
}

fn only_a_comment(rest: &str) -> Result<(), &'static str> {
    let is_comment = rest.is_empty() || (rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#'));
    if is_comment { Ok(()) } else { Err("there is text after the closing quote") }
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    let end = value.find([' ', '\t']).unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value.to_owned())
    } else {
        Err("a value with a blank inside needs quotes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn value(line: &str) -> String {
        match parse(line).as_slice() {
            [Ok(Line { name, value, .. })] if name == "NAME" => value.clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn values_are_taken_literally() {
        for text in
            ["pa$word#1", "${HOME}", "$HOME", r"back\slash", "a=b==", "it's", "#1", "x\"y\"", "päß", "`id`", "$(id)"]
        {
            assert_eq!(value(&format!("NAME={text}")), text);
            assert_eq!(value(&format!("NAME={text}  # a comment")), text);
            assert_eq!(
                value(&format!("  export NAME = {}  ", text.trim_start_matches('#'))),
                text.trim_start_matches('#')
            );
        }
        assert_eq!(value("NAME="), "");
        assert_eq!(value("NAME=  # a comment"), "");
    }

    #[test]
    fn quotes_keep_blanks_and_comment_signs() {
        assert_eq!(value(r#"NAME=' pa$word #1 \n "x" '"#), r#" pa$word #1 \n "x" "#);
        assert_eq!(value(r#"NAME=" pa$word #1 'x' " # a comment"#), " pa$word #1 'x' ");
        assert_eq!(value(r#"NAME="\"\\\$HOME\n""#), "\"\\$HOME\n");
        assert_eq!(value("NAME=''"), "");
        assert_eq!(value("NAME=\"\""), "");
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_skipped() {
        let lines = parse("\u{feff}# first\r\n\r\nA=1\r\nexport B='2'\r\n");
        let line = |number, name: &str, value: &str| Ok(Line { number, name: name.into(), value: value.into() });
        assert_eq!(lines, [line(3, "A", "1"), line(4, "B", "2")]);
        assert_eq!(parse("\u{feff}A=1"), [line(1, "A", "1")]);
    }

    #[test]
    fn every_mistake_names_its_line_and_not_its_text() {
        let wrong = [
            "secret",
            "=secret",
            "1A=secret",
            "A B=secret",
            "export secret",
            "A='secret",
            "A=\"secret",
            "A='secret'x",
            "A=\"secret\" x",
            r#"A="secret\q""#,
            "A=secret x",
            "A-B=secret",
            "A=\"secret\\",
        ];
        let text = wrong.map(|line| format!("{line}\n")).concat();
        let errors: Vec<_> = parse(&text).into_iter().map(|line| line.unwrap_err().to_string()).collect();
        assert_eq!(errors.len(), wrong.len());
        for (error, number) in errors.iter().zip(1..) {
            assert!(error.starts_with(&format!("line {number}: ")) && !error.contains("secret"), "{error}");
        }
    }
}

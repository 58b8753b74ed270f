//! The values of a file with their lines, from and to both formats.

use jsonc_parser::ast::Value as JsonValue;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::FileMistake;

/// A value with the line on which it begins.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    /// How many lines below `line` the first line of a text is: 1 for a multi-line text of TOML that begins on the next line.
    pub(crate) text_below: usize,
    pub(crate) value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// `null` in JSON, like an absent member.
    Null,
    /// A number that is not an integer of 64 bits.
    Number,
}

impl Value {
    /// Returns a node without a line, for files to be written.
    pub(crate) fn node(self) -> Node {
        Node { line: 0, text_below: 0, value: self }
    }
}

impl Node {
    /// Returns the line of the value at a path, or of the nearest one around it.
    pub(crate) fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::List(items), Some(index)) => index.parse().ok().and_then(|index: usize| items.get(index)),
                (Value::Table(members), None) => members.iter().find(|(name, _)| name == step).map(|(_, node)| node),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }
}

/// Finds the lines of places in a text.
struct Lines<'text> {
    text: &'text str,
    /// The place of each line break.
    breaks: Vec<usize>,
}

impl<'text> Lines<'text> {
    fn of(text: &'text str) -> Self {
        Self { text, breaks: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn at(&self, place: usize) -> usize {
        self.breaks.partition_point(|line_break| *line_break < place) + 1
    }

    /// Returns a node at a place of the text.
    fn node(&self, place: usize, value: Value) -> Node {
        let source = self.text.get(place..).unwrap_or_default();
        let opens = source.strip_prefix("\"\"\"").or_else(|| source.strip_prefix("'''"));
        let text_below = usize::from(opens.is_some_and(|rest| rest.starts_with('\n') || rest.starts_with("\r\n")));
        Node { line: self.at(place), text_below, value }
    }
}

fn malformed(line: usize, message: &str) -> FileMistake {
    // The messages of parsers can have several lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    FileMistake { path: String::new(), line, code: "malformed", message: format!("is malformed: {message}") }
}

pub(crate) fn from_toml(text: &str) -> Result<Node, Vec<FileMistake>> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = table.span().start;
        return Ok(lines.node(place, toml_table(table.into_inner(), &lines)));
    }
    let mistake = |error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        malformed(line, error.message())
    };
    Err(errors.iter().map(mistake).collect())
}

fn toml_table(table: DeTable<'_>, lines: &Lines<'_>) -> Value {
    let mut members: Vec<(usize, (String, Node))> = Vec::new();
    for (name, value) in table {
        let place = name.span().start;
        members.push((place, (name.into_inner().into_owned(), toml_value(value, lines))));
    }
    // In the order of the file, so that mistakes are.
    members.sort_by_key(|(place, _)| *place);
    Value::Table(members.into_iter().map(|(_, member)| member).collect())
}

fn toml_value(value: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let place = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).map_or(Value::Number, Value::Integer)
        }
        DeValue::Float(_) => Value::Number,
        DeValue::Boolean(value) => Value::Boolean(value),
        // A date or a time of TOML is the same as its text.
        DeValue::Datetime(at) => Value::Text(at.to_string()),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| toml_value(item, lines)).collect()),
        DeValue::Table(table) => toml_table(table, lines),
    };
    lines.node(place, value)
}

/// JSON by RFC 8259, without the extensions that the parser knows.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(crate) fn from_json(text: &str) -> Result<Node, Vec<FileMistake>> {
    let lines = Lines::of(text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT)
        .map_err(|error| vec![malformed(lines.at(error.range().start), &error.kind().to_string())])?;
    let root = parsed.value.ok_or_else(|| vec![malformed(1, "there is no value")])?;
    let mut repeated = Vec::new();
    let root = json_value(root, &lines, &mut repeated);
    if repeated.is_empty() { Ok(root) } else { Err(repeated) }
}

fn json_value(value: JsonValue<'_>, lines: &Lines<'_>, repeated: &mut Vec<FileMistake>) -> Node {
    let place = value.range().start;
    let value = match value {
        JsonValue::StringLit(text) => Value::Text(text.value.into_owned()),
        JsonValue::NumberLit(number) => number.value.parse().map_or(Value::Number, Value::Integer),
        JsonValue::BooleanLit(boolean) => Value::Boolean(boolean.value),
        JsonValue::NullKeyword(_) => Value::Null,
        JsonValue::Array(array) => {
            Value::List(array.elements.into_iter().map(|item| json_value(item, lines, repeated)).collect())
        }
        JsonValue::Object(object) => {
            let mut members: Vec<(String, Node)> = Vec::new();
            let mut names = std::collections::HashSet::new();
            for property in object.properties {
                let place = property.range.start;
                let name = property.name.into_string();
                if !names.insert(name.clone()) {
                    repeated.push(malformed(lines.at(place), &format!("the member {name:?} comes twice")));
                }
                members.push((name, json_value(property.value, lines, repeated)));
            }
            Value::Table(members)
        }
    };
    Node { line: lines.at(place), text_below: 0, value }
}

/// The members that are written as tables with a heading of their own.
const HEADED: [&str; 8] =
    ["ticket_types", "movies", "theatres", "halls", "price_lists", "rules", "programmes", "shows"];
/// The most characters of a list or table on one line.
const WIDTH: usize = 110;

pub(crate) fn to_toml(root: &Node) -> String {
    let mut text = String::new();
    toml_body(root, "", &mut text);
    text
}

fn toml_body(table: &Node, path: &str, text: &mut String) {
    let Value::Table(members) = &table.value else { return };
    let is_headed = |name: &str| HEADED.contains(&name);
    for (name, node) in members.iter().filter(|(name, _)| !is_headed(name)) {
        let value = match &node.value {
            Value::Text(value) if name == "plan" => toml_lines(value),
            Value::List(items) if toml_inline(node).len() > WIDTH || holds_tables(items) => {
                let items: Vec<_> = items.iter().map(|item| format!("    {},\n", toml_inline(item))).collect();
                format!("[\n{}]", items.concat())
            }
            _ => toml_inline(node),
        };
        text.push_str(&format!("{} = {value}\n", toml_key(name)));
    }
    for (name, node) in members.iter().filter(|(name, _)| is_headed(name)) {
        let Value::List(items) = &node.value else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        for item in items {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[[{path}]]\n"));
            toml_body(item, &path, text);
        }
    }
}

fn holds_tables(items: &[Node]) -> bool {
    items.iter().any(|item| matches!(item.value, Value::Table(_)))
}

fn toml_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

fn toml_inline(node: &Node) -> String {
    match &node.value {
        Value::Text(value) => quoted(value),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(toml_inline).collect::<Vec<_>>().join(", ")),
        Value::Table(members) => {
            let member = |(name, node): &(String, Node)| format!("{} = {}", toml_key(name), toml_inline(node));
            format!("{{ {} }}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        // Neither is written.
        Value::Null | Value::Number => "0".to_owned(),
    }
}

/// Returns a text in quotes. The escapes are those of TOML and of JSON.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Returns a text of several lines as it is.
fn toml_lines(value: &str) -> String {
    let lines: Vec<_> = value.lines().map(|line| line.replace('\\', "\\\\").replace('"', "\\\"")).collect();
    format!("\"\"\"\n{}\n\"\"\"", lines.join("\n"))
}

pub(crate) fn to_json(root: &Node) -> String {
    let mut text = String::new();
    json_pretty(root, 0, &mut text);
    text.push('\n');
    text
}

fn json_pretty(node: &Node, depth: usize, text: &mut String) {
    let inline = json_inline(node);
    let is_leaf = |node: &Node| !matches!(node.value, Value::List(_) | Value::Table(_));
    let is_flat = match &node.value {
        Value::List(items) => items.iter().all(is_leaf) && inline.len() <= WIDTH,
        Value::Table(members) => members.iter().all(|(_, node)| is_leaf(node)) && inline.len() <= WIDTH && depth > 2,
        _ => true,
    };
    let indent = "  ".repeat(depth + 1);
    let close = "  ".repeat(depth);
    match &node.value {
        _ if is_flat => text.push_str(&inline),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { ",\n" } else { "\n" });
                text.push_str(&indent);
                json_pretty(item, depth + 1, text);
            }
            text.push_str(&format!("\n{close}]"));
        }
        Value::Table(members) => {
            text.push('{');
            for (index, (name, node)) in members.iter().enumerate() {
                text.push_str(if index > 0 { ",\n" } else { "\n" });
                text.push_str(&format!("{indent}{}: ", quoted(name)));
                json_pretty(node, depth + 1, text);
            }
            text.push_str(&format!("\n{close}}}"));
        }
        _ => text.push_str(&inline),
    }
}

fn json_inline(node: &Node) -> String {
    match &node.value {
        Value::Text(value) => quoted(value),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(json_inline).collect::<Vec<_>>().join(", ")),
        Value::Table(members) => {
            let member = |(name, node): &(String, Node)| format!("{}: {}", quoted(name), json_inline(node));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Number => "null".to_owned(),
    }
}

//! Media types: RFC 9110 §8.3, RFC 6839 §3.1.

/// White space between the parts, RFC 9110 §5.6.3. What Unicode counts as white space besides is not meant.
const OWS: [char; 2] = [' ', '\t'];

/// Exactly one `Content-Type`, which is JSON (RFC 6839 §3.1 for `+json`) in UTF-8: what CIMD §4 asks of a document.
pub fn is_json(content_type_headers: &[&str]) -> bool {
    let [header] = content_type_headers else {
        return false;
    };
    let (essence, parameters) = header.split_once(';').unwrap_or((header, ""));
    let essence = essence.trim_matches(OWS).to_ascii_lowercase();
    let is_json = match essence.strip_prefix("application/") {
        Some("json") => true,
        Some(other) => other.strip_suffix("+json").is_some_and(is_token),
        None => false,
    };
    let charset_is_utf8 = media_parameters(parameters).is_some_and(|parameters| {
        let mut charsets = parameters.iter().filter(|(name, _)| name == "charset");
        let first = charsets.next();
        first.is_none_or(|(_, charset)| charset.eq_ignore_ascii_case("utf-8"))
            && charsets.next().is_none()
    });
    is_json && charset_is_utf8
}

/// RFC 9110 §5.6.6: names in lower case and values without quotes; `None` where the text is malformed.
fn media_parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([OWS[0], OWS[1], ';']);
        if rest.is_empty() {
            return Some(parameters);
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find([' ', '\t', ';']).unwrap_or(after.len())),
        };
        let next = after.trim_start_matches(OWS);
        let after_is_next = next.is_empty() || next.starts_with(';');
        let is_quoted = rest[name.len() + 1..].starts_with('"');
        if !is_token(name)
            || !(is_quoted || is_token(value))
            || value.contains('\\')
            || !after_is_next
        {
            return None;
        }
        parameters.push((name.to_ascii_lowercase(), value.to_owned()));
        rest = after;
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_json_in_utf_8() {
        let table: &[(&str, &[&str])] = &[
            ("H-01", &["application/json"]),
            ("H-02", &["application/json; charset=utf-8"]),
            ("H-02", &["Application/JSON;charset=\"UTF-8\""]),
            ("H-02", &["application/vnd.x+json"]),
            ("H-02", &["application/ld+json; profile=\"a;b, c\" ; x=1"]),
            ("H-02", &["application/cimd+json"]),
            ("trailing semicolon", &["application/json;"]),
        ];
        for (id, headers) in table {
            assert!(is_json(headers), "{id}: {headers:?}");
        }
        let table: &[(&str, &[&str])] = &[
            ("H-03", &[]),
            ("H-03", &[""]),
            ("H-03", &["text/html"]),
            ("H-03", &["text/plain"]),
            ("H-03", &["application/octet-stream"]),
            ("H-03", &["application/jsonp"]),
            ("H-03", &["text/json"]),
            ("H-03", &["image/png"]),
            ("H-03", &["application/+json"]),
            ("H-03", &["application/json, text/html"]),
            ("H-03", &["application/a b+json"]),
            ("H-03", &["application/json; charset=utf-8, text/html"]),
            ("H-03", &["application/json", "application/json"]),
            ("H-03", &["application/json\u{a0}"]),
            ("H-03", &["application/json; charset=utf-8\u{2003}"]),
            ("H-04", &["application/json; charset=utf-16"]),
            ("H-04", &["application/json; charset=iso-8859-1"]),
            ("H-04", &["application/json; charset="]),
            ("H-04", &["application/json; charset"]),
            ("H-04", &["application/json; charset=utf-8; charset=utf-16"]),
            ("H-04", &["application/json; charset=\"utf-8"]),
        ];
        for (id, headers) in table {
            assert!(!is_json(headers), "{id}: {headers:?}");
        }
    }
}

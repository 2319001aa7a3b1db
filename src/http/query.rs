//! Questions in URLs: `n=2&key=k&exclude=qa-1:5201&attribute=dataset=d1`.

use percent_encoding::percent_decode_str;

use crate::balancer::answers::Request;

/// The question for instances of `service` that the query of a URL asks.
///
/// # Errors
/// What cannot be read, and how it is written.
pub fn question(service: String, query: &str) -> Result<Request, String> {
    let mut request = Request {
        service,
        ..Request::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        match name.as_str() {
            "n" => {
                request.count = value
                    .parse()
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(|| {
                        format!("`n` is `{value}`: write how many instances are wanted, as in n=2")
                    })?;
            }
            "key" => request.affinity_key = value,
            "exclude" => {
                for place in value.split(',') {
                    request.excluded.push(read_place(place)?);
                }
            }
            "attribute" => {
                let split = value.split_once('=').filter(|(key, _)| !key.is_empty());
                let (key, value) = split.ok_or_else(|| {
                    format!("`attribute` is `{value}`: write it as in attribute=dataset=d1")
                })?;
                request.attributes.insert(key.to_owned(), value.to_owned());
            }
            other => {
                return Err(format!(
                    "there is no parameter `{other}`; there are n, key, exclude and attribute"
                ));
            }
        }
    }
    Ok(request)
}

/// Text of a query: `+` and `%20` are a space.
fn decode(text: &str) -> Result<String, String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| format!("`{text}` is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// `host:port`, with brackets around an IPv6 address.
fn read_place(text: &str) -> Result<(String, u32), String> {
    let read = || {
        let (host, port) = text.rsplit_once(':')?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let port: u16 = port.parse().ok()?;
        Some((inner.unwrap_or(host).to_owned(), u32::from(port)))
    };
    read()
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| format!("`exclude` is `{text}`: write host:port, as in exclude=qa-1:5201"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written() {
        let query =
            "n=3&key=a+b%26&exclude=qa-1:1,[::1]:2&exclude=qa-2:3&attribute=x=y%3Dz&attribute=q=";
        let read = question("Worker".to_owned(), query).unwrap();
        assert_eq!(
            (
                read.service.as_str(),
                read.count,
                read.affinity_key.as_str()
            ),
            ("Worker", 3, "a b&")
        );
        let places = [("qa-1", 1), ("::1", 2), ("qa-2", 3)];
        assert_eq!(
            read.excluded,
            places.map(|(host, port)| (host.to_owned(), port))
        );
        assert_eq!(read.attributes["x"], "y=z");
        assert_eq!(read.attributes["q"], "");
        assert_eq!(question(String::new(), "").unwrap().count, 0);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (query, named) in [
            ("n=0", "`n` is `0`"),
            ("n=many", "`n` is `many`"),
            ("exclude=qa-1", "`exclude` is `qa-1`"),
            ("exclude=qa-1:70000", "`exclude` is"),
            ("attribute=dataset", "`attribute` is `dataset`"),
            ("count=1", "no parameter `count`"),
            ("key=%ff", "not UTF-8"),
        ] {
            let error = question("Worker".to_owned(), query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
    }
}

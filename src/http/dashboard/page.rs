//! The page: written by hand, part of the program, and asking nobody else for anything.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, header};

use super::api::pack;

/// Nothing may come from elsewhere or be written into the page, and no other page may show this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, media type and content of each file.
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/ui/style.css", STYLE, include_str!("page/style.css")),
    (
        "/ui/icon.svg",
        "image/svg+xml",
        include_str!("page/icon.svg"),
    ),
    ("/ui/app.js", SCRIPT, include_str!("page/app.js")),
    ("/ui/board.js", SCRIPT, include_str!("page/board.js")),
    ("/ui/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/ui/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/ui/list.js", SCRIPT, include_str!("page/list.js")),
    ("/ui/log.js", SCRIPT, include_str!("page/log.js")),
    ("/ui/views.js", SCRIPT, include_str!("page/views.js")),
];

/// The paths of the page.
pub(super) fn router() -> Router {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, media, text)| {
            let file = async move |headers: HeaderMap| answer(&headers, media, text);
            router.route(path, get(file))
        })
}

fn answer(headers: &HeaderMap, media: &'static str, text: &'static str) -> Response {
    let mut answer = pack(headers, text.as_bytes()).into_response();
    let own = [
        (header::CONTENT_TYPE, media),
        // Another version of the program has another page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in own {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_holds_nothing_that_its_policy_forbids() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let packed =
            |(_, _, text): &(&str, &str, &str)| super::super::api::gzip(text.as_bytes()).len();
        let size: usize = FILES.iter().map(packed).sum();
        assert!(size < 40 * 1024, "{size} bytes");
        for (path, media, text) in FILES {
            assert!(
                !text.contains("innerHTML") && !text.contains("insertAdjacentHTML"),
                "{path}"
            );
            // The name of a namespace leads nowhere.
            let asked = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !asked.contains("http://") && !asked.contains("https://"),
                "{path} asks elsewhere"
            );
            if media == HTML {
                assert!(
                    !text.contains("style=") && !text.contains("<script>"),
                    "{path}"
                );
            }
        }
    }
}

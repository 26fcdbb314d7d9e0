//! Row F-18: the issuer for the people of a domain, RFC 7033.

use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::support::{Browser, Database, Page, TestApp};

const REL: &str = "http://openid.net/specs/connect/1.0/issuer";

async fn ask(browser: &mut Browser, query: &str) -> Page {
    let request = Request::get(format!("/.well-known/webfinger{query}"));
    let request = request.header("origin", "https://app.example.net");
    browser.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn f_18_webfinger_names_the_issuer_for_the_configured_domains_and_for_no_other() {
    let variables = [
        ("WAYLEAVE_ISSUER", "https://id.example.com/auth"),
        ("WAYLEAVE_WEBFINGER__DOMAINS", "['example.com']"),
    ];
    let server = TestApp::with(Database::sqlite(), &variables).await;
    let mut browser = server.browser();
    // Nothing is looked up, so the answer cannot tell who has an account.
    server.app.store.close().await;
    let link = json!({ "rel": REL, "href": "https://id.example.com/auth" });
    for (name, rel, links) in [
        ("ada", format!("&rel={REL}"), json!([link])),
        ("nobody", format!("&rel={REL}"), json!([link])),
        ("ada", String::new(), json!([link])),
        ("ada", format!("&rel=avatar&rel={REL}"), json!([link])),
        ("ada", "&rel=avatar".to_owned(), json!([])),
    ] {
        for resource in [
            format!("acct:{name}@example.com"),
            format!("https://example.com/{name}"),
        ] {
            let page = ask(&mut browser, &format!("?resource={resource}{rel}")).await;
            assert_eq!(page.status, 200, "{resource}{rel}: {}", page.body);
            assert_eq!(page.header("content-type"), "application/jrd+json");
            assert_eq!(page.header("access-control-allow-origin"), "*");
            assert_eq!(page.header("cross-origin-resource-policy"), "cross-origin");
            assert_eq!(page.json(), json!({ "subject": resource, "links": links }));
        }
    }
    for (query, status) in [
        ("?resource=acct:ada@example.net", 404),
        ("?resource=https://id.example.com/auth", 404),
        ("?resource=mailto:ada@example.com", 404),
        ("", 400),
        ("?rel=avatar", 400),
        ("?resource=ada@example.com", 400),
        ("?resource=%zz", 400),
        (
            "?resource=acct:a@example.com&resource=acct:a@example.com",
            400,
        ),
    ] {
        let page = ask(&mut browser, query).await;
        assert_eq!(page.status, status, "{query}: {}", page.body);
        assert_eq!(page.header("content-type"), "application/json", "{query}");
        assert_eq!(page.header("access-control-allow-origin"), "*", "{query}");
        assert_eq!(page.json()["error"], "invalid_request", "{query}");
        assert!(!page.body.contains("example.net"), "{}", page.body);
    }
    let post = Request::post("/.well-known/webfinger").body(Body::empty());
    assert_eq!(browser.send(post.unwrap()).await.status, 405);
}

#[tokio::test]
async fn f_18_webfinger_is_off_unless_domains_are_configured() {
    let server = TestApp::new(Database::sqlite()).await;
    let query = format!("?resource=acct:ada@127.0.0.1:8080&rel={REL}");
    let page = ask(&mut server.browser(), &query).await;
    assert_eq!(
        (page.status.as_u16(), page.text("h1").as_str()),
        (404, "Nothing here")
    );
}

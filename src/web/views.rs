//! What each page shows; the templates in `templates/` say how.

use askama::Template;

/// What every page carries.
pub(crate) struct Frame {
    pub(crate) stylesheet: String,
    pub(crate) icon: String,
    pub(crate) issuer_host: String,
    /// Path prefix of our own links: empty for an issuer at the root.
    pub(crate) base: String,
    pub(crate) signed_in_as: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    /// The authorization request that waits, encoded.
    pub(crate) request: String,
    pub(crate) client_host: Option<String>,
    pub(crate) username: String,
    pub(crate) failed: Option<String>,
    /// Of the attempt that failed, to be quoted to the administrator.
    pub(crate) reference: Option<String>,
    pub(crate) notice: Option<String>,
}

#[derive(Template)]
#[template(path = "setup.html")]
pub(crate) struct Setup {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) token: String,
    pub(crate) username: String,
    pub(crate) failed: Option<String>,
}

#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) interaction: String,
    pub(crate) asker: Asker,
    pub(crate) wanted: Wanted,
    /// The host that the answer goes to, or the private-use scheme of an app.
    pub(crate) destination: String,
    pub(crate) redirect_uri: String,
    pub(crate) redirect_is_app: bool,
    pub(crate) redirect_is_in_clear: bool,
    pub(crate) redirect_is_loopback: bool,
    pub(crate) redirect_is_other_host: bool,
    pub(crate) changed: Vec<String>,
    pub(crate) switch_account_url: String,
}

/// The client that asks.
pub(crate) struct Asker {
    /// Did the administrator register it? Then it is known by the name that the administrator gave it.
    pub(crate) is_registered: bool,
    /// What the page is about: its host, or the name that the administrator gave it.
    pub(crate) title: String,
    pub(crate) host: String,
    /// The sub-domain part of the host, with its dot.
    pub(crate) host_lead: String,
    /// The part of the host that somebody registered.
    pub(crate) host_main: String,
    /// The host with its own letters, where that misleads nobody.
    pub(crate) host_decoded: Option<String>,
    pub(crate) client_id: String,
    pub(crate) name: Option<String>,
    /// Address of the logo, as we encoded it.
    pub(crate) logo: Option<String>,
    /// Who has checked the app, in one sentence.
    pub(crate) standing: String,
    /// Since when it is known here, in one sentence.
    pub(crate) seen: String,
    pub(crate) admin_text: Option<String>,
    pub(crate) cautions: Vec<Caution>,
    pub(crate) fetched: String,
    pub(crate) digest: String,
}

/// What it would be able to do.
pub(crate) struct Wanted {
    pub(crate) user: String,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) resources: Vec<ResourceView>,
    /// How long it would stay connected, if it would.
    pub(crate) lifetime: Option<String>,
}

/// Something to look at twice before answering.
pub(crate) struct Caution {
    pub(crate) grave: bool,
    pub(crate) title: String,
    pub(crate) text: String,
    /// A host that the text ends with.
    pub(crate) host: Option<String>,
}

pub(crate) struct Permission {
    /// Does the list begin with it?
    pub(crate) is_said_above: bool,
    pub(crate) scope: String,
    pub(crate) meaning: String,
    pub(crate) resource: Option<String>,
}

pub(crate) struct ResourceView {
    pub(crate) name: Option<String>,
    pub(crate) id: String,
    pub(crate) host: String,
}

#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct Device {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) user_code: String,
    pub(crate) failed: bool,
}

#[derive(Template)]
#[template(path = "device_confirm.html")]
pub(crate) struct DeviceConfirm {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) user_code: String,
    pub(crate) asker: Asker,
    pub(crate) wanted: Wanted,
    /// The address that the device asked from.
    pub(crate) source: String,
    pub(crate) same_network: bool,
    pub(crate) age: String,
    pub(crate) switch_account_url: String,
}

#[derive(Template)]
#[template(path = "device_done.html")]
pub(crate) struct DeviceDone {
    pub(crate) frame: Frame,
    pub(crate) allowed: bool,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
pub(crate) struct SignedOut {
    pub(crate) frame: Frame,
}

#[derive(Template)]
#[template(path = "sign_out.html")]
pub(crate) struct SignOut {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) user: String,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) frame: Frame,
    pub(crate) user: Option<String>,
    pub(crate) is_admin: bool,
    pub(crate) has_development: bool,
}

#[derive(Template)]
#[template(path = "admin_clients.html")]
pub(crate) struct AdminClients {
    pub(crate) frame: Frame,
    pub(crate) in_memory: u64,
    pub(crate) fetching: usize,
    pub(crate) clients: Vec<ClientView>,
    pub(crate) backed_off: Vec<BackedOffView>,
    pub(crate) refused: Vec<RefusedView>,
}

pub(crate) struct ClientView {
    pub(crate) client_id: String,
    pub(crate) tier: String,
    pub(crate) fetched: String,
    /// How many grants of how many people it has.
    pub(crate) use_: String,
    pub(crate) state: String,
}

pub(crate) struct BackedOffView {
    pub(crate) client_id: String,
    pub(crate) failures: String,
    pub(crate) wait: i64,
    pub(crate) rule: &'static str,
    pub(crate) cause: String,
}

pub(crate) struct RefusedView {
    pub(crate) at: String,
    pub(crate) reference: String,
    pub(crate) endpoint: String,
    pub(crate) rule: String,
    pub(crate) client_id: Option<String>,
    /// What leads to the explanation of the client.
    pub(crate) client_query: Option<String>,
    pub(crate) person: Option<String>,
    pub(crate) address: String,
    pub(crate) told: String,
    pub(crate) cause: String,
}

#[derive(Template)]
#[template(path = "admin_refusals.html")]
pub(crate) struct AdminRefusals {
    pub(crate) frame: Frame,
    /// How many are kept.
    pub(crate) most: i64,
    /// The one that is looked for.
    pub(crate) reference: Option<String>,
    pub(crate) refused: Vec<RefusedView>,
}

#[derive(Template)]
#[template(path = "admin_explain.html")]
pub(crate) struct AdminExplain {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) action: String,
    pub(crate) client_id: String,
    pub(crate) report: Option<ReportView>,
}

pub(crate) struct ReportView {
    pub(crate) accepted: bool,
    pub(crate) verdict: String,
    pub(crate) policy: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) rules: Vec<LineView>,
    /// Label and value.
    pub(crate) facts: Vec<(&'static str, String)>,
}

pub(crate) struct LineView {
    pub(crate) rule: &'static str,
    pub(crate) verdict: &'static str,
    pub(crate) class: &'static str,
    pub(crate) problem: Option<String>,
    pub(crate) advice: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "development.html")]
pub(crate) struct Development {
    pub(crate) frame: Frame,
    pub(crate) csrf: String,
    pub(crate) lifetime: String,
    pub(crate) example: &'static str,
    pub(crate) client_name: String,
    pub(crate) redirect_uris: String,
    pub(crate) failed: Option<String>,
    pub(crate) clients: Vec<DevClientView>,
}

pub(crate) struct DevClientView {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) until: String,
}

#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub(crate) frame: Frame,
    pub(crate) title: String,
    pub(crate) happened: String,
    pub(crate) advice: String,
    pub(crate) status: u16,
    /// For developers: label and value.
    pub(crate) detail: Vec<(String, String)>,
    /// To be quoted to the administrator.
    pub(crate) reference: Option<String>,
    pub(crate) retry: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "<script>alert(1)</script>\"'&";

    macro_rules! templates {
        ($($name:literal),*) => {
            [$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $name)))),*]
        };
    }

    fn evil() -> String {
        EVIL.to_owned()
    }

    fn frame() -> Frame {
        Frame {
            stylesheet: "/style.css".to_owned(),
            icon: "/icon.svg".to_owned(),
            issuer_host: "auth.example".to_owned(),
            base: String::new(),
            signed_in_as: Some(evil()),
        }
    }

    fn consent() -> Consent {
        Consent {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            interaction: evil(),
            asker: asker(),
            wanted: wanted(),
            destination: evil(),
            redirect_is_app: true,
            redirect_is_in_clear: true,
            redirect_uri: evil(),
            redirect_is_loopback: true,
            redirect_is_other_host: true,
            changed: vec![evil()],
            switch_account_url: evil(),
        }
    }

    fn asker() -> Asker {
        Asker {
            is_registered: false,
            title: evil(),
            host: evil(),
            host_lead: evil(),
            host_main: evil(),
            host_decoded: Some(evil()),
            logo: Some(evil()),
            standing: evil(),
            seen: evil(),
            admin_text: Some(evil()),
            cautions: vec![Caution {
                grave: true,
                title: evil(),
                text: evil(),
                host: Some(evil()),
            }],
            client_id: evil(),
            name: Some(evil()),
            fetched: evil(),
            digest: evil(),
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            user: evil(),
            permissions: ["", EVIL]
                .map(|meaning| Permission {
                    is_said_above: false,
                    scope: evil(),
                    meaning: meaning.to_owned(),
                    resource: Some(evil()),
                })
                .into(),
            resources: vec![ResourceView {
                name: Some(evil()),
                id: evil(),
                host: evil(),
            }],
            lifetime: Some(evil()),
        }
    }

    fn device_confirm() -> DeviceConfirm {
        DeviceConfirm {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            user_code: evil(),
            asker: asker(),
            wanted: wanted(),
            source: evil(),
            same_network: false,
            age: evil(),
            switch_account_url: evil(),
        }
    }

    fn refused() -> RefusedView {
        RefusedView {
            at: evil(),
            reference: evil(),
            endpoint: evil(),
            rule: evil(),
            client_id: Some(evil()),
            client_query: Some(evil()),
            person: Some(evil()),
            address: evil(),
            told: evil(),
            cause: format!("{EVIL} more"),
        }
    }

    fn assert_escaped(page: &impl Template, shown: usize) {
        let html = page.render().expect("the page renders");
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("\"'&"), "{html}");
        assert_eq!(html.matches("&#60;script&#62;").count(), shown, "{html}");
    }

    #[test]
    fn what_strangers_write_is_escaped() {
        let login = Login {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            request: evil(),
            client_host: Some(evil()),
            username: evil(),
            failed: Some(evil()),
            reference: Some(evil()),
            notice: Some(evil()),
        };
        assert_escaped(&login, 9);
        let setup = Setup {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            token: evil(),
            username: evil(),
            failed: Some(evil()),
        };
        assert_escaped(&setup, 6);
        assert_escaped(&consent(), 37);
        let device = Device {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            user_code: evil(),
            failed: true,
        };
        assert_escaped(&device, 4);
        assert_escaped(&device_confirm(), 34);
        let done = DeviceDone {
            frame: frame(),
            allowed: true,
        };
        assert_escaped(&done, 1);
        assert_escaped(&SignedOut { frame: frame() }, 1);
        let sign_out = SignOut {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            user: evil(),
        };
        assert_escaped(&sign_out, 4);
        let home = Home {
            frame: frame(),
            user: Some(evil()),
            is_admin: true,
            has_development: true,
        };
        assert_escaped(&home, 2);
        let clients = AdminClients {
            frame: frame(),
            in_memory: 1,
            fetching: 1,
            clients: vec![ClientView {
                client_id: evil(),
                tier: evil(),
                fetched: evil(),
                use_: evil(),
                state: evil(),
            }],
            backed_off: vec![BackedOffView {
                client_id: evil(),
                failures: "1 failure".to_owned(),
                wait: 1,
                rule: EVIL,
                cause: evil(),
            }],
            refused: vec![refused()],
        };
        assert_escaped(&clients, 20);
        let refusals = AdminRefusals {
            frame: frame(),
            most: 1,
            reference: Some(evil()),
            refused: vec![refused()],
        };
        assert_escaped(&refusals, 13);
        let explain = AdminExplain {
            frame: frame(),
            csrf: evil(),
            action: evil(),
            client_id: evil(),
            report: Some(ReportView {
                accepted: false,
                verdict: evil(),
                policy: Some(evil()),
                notes: vec![evil()],
                rules: vec![LineView {
                    rule: EVIL,
                    verdict: EVIL,
                    class: "fail",
                    problem: Some(evil()),
                    advice: Some(EVIL),
                }],
                facts: vec![(EVIL, evil())],
            }),
        };
        assert_escaped(&explain, 17);
        let development = Development {
            frame: frame(),
            csrf: evil(),
            lifetime: evil(),
            example: EVIL,
            client_name: evil(),
            redirect_uris: evil(),
            failed: Some(evil()),
            clients: vec![DevClientView {
                id: evil(),
                client_id: evil(),
                name: evil(),
                until: evil(),
            }],
        };
        assert_escaped(&development, 12);
        let error = ErrorPage {
            frame: frame(),
            title: evil(),
            happened: evil(),
            advice: evil(),
            status: 400,
            detail: vec![(evil(), evil())],
            reference: Some(evil()),
            retry: true,
        };
        assert_escaped(&error, 8);
    }

    #[test]
    fn deny_stands_before_allow_and_looks_the_same() {
        let pages = [consent().render(), device_confirm().render()];
        for html in pages.map(|page| page.expect("the page renders")) {
            let buttons: Vec<&str> = html
                .lines()
                .filter(|line| line.starts_with("<button"))
                .collect();
            let [deny, allow] = buttons[..] else {
                panic!("two buttons: {buttons:?}")
            };
            assert!(deny.contains("value=\"deny\""), "{deny}");
            assert_eq!(
                deny.replace("deny", "allow").replace("Deny", "Allow"),
                allow
            );
            assert!(!html.contains("autofocus"));
        }
    }

    #[test]
    fn a_consent_page_warns_only_with_a_reason() {
        let mut page = consent();
        page.redirect_is_loopback = false;
        page.redirect_is_app = false;
        page.redirect_is_in_clear = false;
        page.redirect_is_other_host = false;
        page.changed.clear();
        page.asker.cautions.clear();
        let html = page.render().expect("the page renders");
        assert!(!html.contains("note warn"), "{html}");
        let all = consent().render().expect("the page renders");
        assert_eq!(all.matches("note warn").count(), 5);
        let last = all.rfind("note warn").expect("a warning");
        assert!(last < all.find("<button").expect("a button"));
    }

    #[test]
    fn templates_hold_nothing_that_the_policy_forbids() {
        let templates = templates![
            "base.html",
            "login.html",
            "setup.html",
            "consent.html",
            "parts.html",
            "device.html",
            "device_confirm.html",
            "device_done.html",
            "signed_out.html",
            "sign_out.html",
            "home.html",
            "admin_clients.html",
            "admin_explain.html",
            "admin_refusals.html",
            "development.html",
            "error.html",
            "style.css"
        ];
        for (name, text) in templates {
            let banned = [
                "|safe",
                "| safe",
                "<script",
                "style=",
                "<style",
                "http://",
                "https://",
                "data:",
                "javascript:",
                "@import",
                "url(",
            ];
            for banned in banned {
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
        let (_, css) = templates[templates.len() - 1];
        assert!(css.len() < 12 * 1024);
    }
}

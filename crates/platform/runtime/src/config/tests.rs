use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ConfigError, Problem, Secret, Validate, duration, load, load_from, print};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    listen: SocketAddr,
    smpp: Smpp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Smpp {
    window: u16,
    #[serde(with = "duration")]
    enquire_link: Duration,
    system_id: String,
    password: Secret,
    links: Vec<Link>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Link {
    name: String,
    port: u16,
    password: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 7000).into(), smpp: Smpp::default() }
    }
}

impl Default for Smpp {
    fn default() -> Self {
        Self {
            window: 10,
            enquire_link: Duration::from_secs(30),
            system_id: String::new(),
            password: Secret::default(),
            links: Vec::new(),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let smpp = Problem::range("window", self.smpp.window, 1..=1000).into_iter().collect();
        Problem::under("smpp", smpp)
    }
}

fn from(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load_from("simvault.toml", text, &environment, "SIMVAULT")
}

fn mistakes(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    from(text, environment).expect_err("there are mistakes").mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn five_mistakes_are_reported_together() {
    let text = "listen = \"nowhere\"\ncolour = 1\n[smpp]\nwindow = 5000\nenquire_link = \"soon\"\n[[smpp.links]]\nport = \"high\"\n";
    let found = mistakes(text, &[]);
    assert_eq!(found.len(), 5, "{found:#?}");
    for (line, key, says) in [
        (1, "listen", "found \"nowhere\", accepted: ADDRESS:PORT"),
        (2, "colour", "unknown field"),
        (4, "smpp.window", "found 5000, accepted: 1 to 1000"),
        (5, "smpp.enquire_link", "accepted: a whole number with its unit"),
        (7, "smpp.links.0.port", "found string \"high\", accepted: a whole number, 0 to 65535"),
    ] {
        let start = format!("simvault.toml:{line}: {key}: ");
        assert!(
            found.iter().any(|mistake| mistake.starts_with(&start) && mistake.contains(says)),
            "{start} in {found:#?}"
        );
    }
}

#[test]
fn mistakes_come_in_the_order_of_the_lines_and_a_typo_is_told_what_was_meant() {
    let text = "listn = \"127.0.0.1:80\"\n[smpp]\nwindow = 5000\nenquire_link = \"soon\"\nsystem_di = \"a\"\n";
    let error = from(text, &[("SIMVAULT__SMPP__PASSWORD__X", "y")]).expect_err("there are mistakes");
    let starts: Vec<&str> = error.mistakes.iter().map(|mistake| mistake.place.as_str()).collect();
    let expected = ["simvault.toml:1", "simvault.toml:3", "simvault.toml:4", "simvault.toml:5"];
    assert_eq!(starts.get(..4), Some(&expected[..]), "{error}");
    assert!(
        error.to_string().contains("did you mean `listen`?") && error.to_string().contains("did you mean `system_id`?")
    );
    assert!(error.names_unknown_key());
    let one = from("[smpp]\nwindow = 0\n", &[]).expect_err("a mistake");
    assert_eq!(
        one.to_string(),
        "configuration: 1 mistake\n  simvault.toml:2: smpp.window: found 0, accepted: 1 to 1000"
    );
    assert!(!one.names_unknown_key());
}

#[test]
fn what_only_follows_from_a_mistake_of_syntax_is_not_told() {
    let found = mistakes("[smpp]\nwindow = = 5000\n", &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn mistakes_of_syntax_do_not_hide_the_others() {
    let found =
        mistakes("window = = 3\n[smpp]\nwindow = \"many\"\ncolour = 3\n", &[("SIMVAULT__SMPP__ENQUIRE_LINK", "now")]);
    assert!(found.len() >= 4, "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.contains("smpp.window: ")), "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.contains("smpp.colour: ")), "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.starts_with("SIMVAULT__SMPP__ENQUIRE_LINK: ")), "{found:#?}");
}

#[test]
fn the_environment_overrides_the_file_whatever_the_type() {
    let config = from(
        "[smpp]\nwindow = 3\n[[smpp.links]]\nname = \"a\"\n",
        &[
            ("SIMVAULT__SMPP__WINDOW", "7"),
            ("SIMVAULT__SMPP__SYSTEM_ID", "12345"),
            ("SIMVAULT__SMPP__PASSWORD", "67890"),
            ("SIMVAULT__SMPP__LINKS__0__PASSWORD", "[odd"),
            ("SIMVAULT__LISTEN", "0.0.0.0:80"),
            ("OTHER__SMPP__WINDOW", "8"),
        ],
    )
    .expect("no mistakes");
    assert_eq!(config.smpp.window, 7);
    assert_eq!(config.smpp.system_id, "12345");
    assert_eq!(config.smpp.password.expose(), "67890");
    assert_eq!(config.smpp.links.first().map(|link| link.password.expose()), Some("[odd"));
    assert_eq!(config.listen.port(), 80);
}

#[test]
fn a_wrong_override_names_its_variable() {
    let found = mistakes(
        "",
        &[("SIMVAULT__SMPP__WINDOW", "wide"), ("SIMVAULT__SMPP__COLOUR", "1"), ("SIMVAULT__LISTEN__PORT", "1")],
    );
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("SIMVAULT__SMPP__WINDOW: smpp.window: ") && one.contains("a whole number")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|one| one.starts_with("SIMVAULT__SMPP__COLOUR: ") && one.contains("unknown field")),
        "{found:#?}"
    );
    let found = mistakes("", &[("SIMVAULT__SMPP__WINDOW", "0")]);
    assert_eq!(found, ["SIMVAULT__SMPP__WINDOW: smpp.window: found 0, accepted: 1 to 1000"]);
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "hush\n").expect("written");
    let text = format!("[smpp]\npassword = {{ file = {:?} }}\n", file.display().to_string());
    let config = from(&text, &[]).expect("no mistakes");
    assert_eq!(config.smpp.password.expose(), "hush");
    let shown = print(&config).expect("TOML");
    assert!(shown.contains("(hidden)") && shown.contains("enquire_link = \"30s\""), "{shown}");
    assert!(!shown.contains("hush") && !format!("{config:?}").contains("hush"));

    let refused = mistakes("[smpp]\npassword = \"hush\"\n", &[]).join("\n");
    assert!(refused.contains("smpp.password") && !refused.contains("hush"), "{refused}");
}

#[test]
fn a_file_is_loaded_and_a_missing_one_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("simvault.toml");
    std::fs::write(&file, "[smpp]\nenquire_link = \"2min\"\n").expect("written");
    let config: Config = load(Some(&file), "SIMVAULT_TEST_NOBODY_SETS").expect("no mistakes");
    assert_eq!(config.smpp.enquire_link, Duration::from_secs(120));
    let missing = load::<Config>(Some(&folder.path().join("none.toml")), "SIMVAULT").expect_err("missing");
    assert!(missing.to_string().contains("none.toml"), "{missing}");
}

#[test]
fn durations_are_read_and_shown_alike() {
    for text in ["250ms", "5s", "10min", "2h", "1d", "90s", "1500ms", "7us"] {
        let parsed = duration::parse(text).expect(text);
        assert_eq!(duration::show(parsed), text);
    }
    assert_eq!(duration::parse("60s").map(duration::show).as_deref(), Some("1min"));
    assert_eq!(duration::show(Duration::ZERO), "0s");
    for text in ["", "5", "s", "-1s", "1.5s", "5 weeks", "99999999999999999999s"] {
        assert_eq!(duration::parse(text), None, "{text}");
    }
}

//! A headless Chromium, driven by its DevTools protocol (<https://chromedevtools.github.io/devtools-protocol/>).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::system::{BINARY, eventually};

/// Set where no browser can be had: its tests then prove nothing, and say so.
const EXCUSE: &str = "TIDEWATCH_TEST_WITHOUT_BROWSER";

/// The browser of this test run, or none, which only the variable excuses.
fn browser() -> Option<&'static Stack> {
    static BROWSER: OnceLock<Option<Stack>> = OnceLock::new();
    let browser = BROWSER.get_or_init(|| {
        if std::env::var_os(EXCUSE).is_some() {
            return None;
        }
        let options = StackOptions { parts: vec![PartName::Chromium], ..StackOptions::default() };
        match Stack::start(Path::new(BINARY), &options) {
            Ok(stack) => Some(stack),
            Err(error) => {
                panic!("no Chromium: {error}; {EXCUSE}=1 goes without, and proves nothing of the page")
            }
        }
    });
    if browser.is_none() {
        eprintln!("NOT TESTED: {EXCUSE} is set, so nobody has looked at the page");
    }
    browser.as_ref()
}

/// A tab with cookies, storage and cache of its own.
pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last_id: u64,
    /// What the page has complained of, and what it has asked for.
    problems: Vec<String>,
    requests: Vec<String>,
}

impl Tab {
    /// An empty tab; none where it is excused that there is no browser.
    pub async fn new() -> Option<Self> {
        let browser = tokio::task::block_in_place(browser)?;
        let version = format!("{}/json/version", browser.chromium().unwrap());
        let version: Value = reqwest::get(version).await.unwrap().json().await.unwrap();
        let (socket, _) = connect_async(version["webSocketDebuggerUrl"].as_str().unwrap()).await.unwrap();
        let (problems, requests) = (Vec::new(), Vec::new());
        let mut tab = Self { socket, session: String::new(), last_id: 0, problems, requests };
        // It goes when this connection does.
        let context = tab.call("Target.createBrowserContext", json!({ "disposeOnDetach": true })).await;
        let target = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = tab.call("Target.createTarget", target).await;
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = tab.call("Target.attachToTarget", target).await;
        tab.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        Some(tab)
    }

    /// Calls a method of the protocol; returns its result.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let message = self.socket.next().await.expect("the browser lives").unwrap();
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.last_id {
                assert_eq!(message["error"], Value::Null, "{method} {parameters}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.problems.push(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") => self.problems.push(parameters["args"].to_string()),
            Some("Log.entryAdded") => {
                let entry = &parameters["entry"];
                self.problems.push(format!("{} {}", entry["text"], entry["url"]));
            }
            Some("Network.requestWillBeSent") => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }

    /// Goes to an address.
    pub async fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        assert_eq!(answer["errorText"], Value::Null, "{url}");
    }

    /// The value of an expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", parameters).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression in the page is true in JavaScript's sense; its value.
    pub async fn until(&mut self, expression: &str) -> Value {
        // Before the page has loaded, its elements are missing.
        let guarded = format!("(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()");
        eventually(expression, async || {
            let value = self.evaluate(&guarded).await;
            let is_true = !matches!(&value, Value::Null | Value::Bool(false)) && value != 0 && value != "";
            is_true.then_some(value)
        })
        .await
    }

    /// Presses a key: Tab, Enter or Space.
    pub async fn press(&mut self, key: &str) {
        let (key, code, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            "Space" => (" ", 32, " "),
            _ => panic!("{key} is none of the keys"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Types a text.
    pub async fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// How wide the window is, in pixels, and which colours the reader prefers: `light` or `dark`.
    pub async fn look(&mut self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Writes what is to be seen into the target folder, for people.
    pub async fn screenshot(&mut self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&folder).unwrap();
        let image = self.call("Page.captureScreenshot", json!({})).await;
        let image = STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), image).unwrap();
    }

    /// What the browser has complained of so far, the page's own words and uncaught errors among it.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The addresses that were asked for so far.
    pub fn requests(&self) -> &[String] {
        &self.requests
    }
}

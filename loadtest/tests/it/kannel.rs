//! A peer that is not ours: Kannel's `bearerbox` binds to the SMSC simulator as ESME, and binary messages pass both ways
//! (its `smsbox` gives an HTTP face to each direction).

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use loadtest::smsc::{Delivery, MobileOriginated, MobileTerminated, Number, Smsc, SmscConfig, SmscHandle};
use testkit::free_port;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::peer::{self, Process};

const BEARERBOX: &str = "/usr/sbin/bearerbox";
const SMSBOX: &str = "/usr/sbin/smsbox";
const CARD: &str = "447700900123";
const PATIENCE: Duration = Duration::from_secs(30);

/// Kannel with both boxes, bound to the simulator.
struct Kannel {
    sendsms_port: u16,
    /// Requests of smsbox for every message of a phone.
    web: TcpListener,
    _bearerbox: Process,
    _smsbox: Process,
    folder: tempfile::TempDir,
}

impl Kannel {
    async fn start(smsc: &SmscHandle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (admin, boxes, sendsms_port) = (free_port(), free_port(), free_port());
        let (smsc_port, web_port) = (smsc.address().port(), web.local_addr().unwrap().port());
        let configuration = format!(
            "group = core\nadmin-port = {admin}\nadmin-interface = 127.0.0.1\nadmin-password = none\n\
             smsbox-port = {boxes}\nsmsbox-interface = 127.0.0.1\nbox-allow-ip = 127.0.0.1\n\n\
             group = smsc\nsmsc = smpp\nsmsc-id = simulator\nhost = 127.0.0.1\nport = {smsc_port}\n\
             transceiver-mode = true\nsmsc-username = simvault\nsmsc-password = simvault\nsystem-type = \"\"\n\
             interface-version = 34\nreconnect-delay = 1\nalt-dcs = 1\n\n\
             group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {sendsms_port}\n\
             sendsms-interface = 127.0.0.1\n\n\
             group = sendsms-user\nusername = test\npassword = test\n\n\
             group = sms-service\nkeyword = default\ncatch-all = true\nmax-messages = 0\n\
             get-url = \"http://127.0.0.1:{web_port}/mo?from=%p&to=%P&coding=%c&udh=%u&body=%b\"\n"
        );
        let path = folder.path().join("kannel.conf");
        std::fs::write(&path, configuration).unwrap();
        let bearerbox = Process::start(BEARERBOX, &path, &folder.path().join("bearerbox.log"));
        wait_for_port(boxes).await;
        let smsbox = Process::start(SMSBOX, &path, &folder.path().join("smsbox.log"));
        wait_for_port(sendsms_port).await;
        while smsc.links().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { sendsms_port, web, _bearerbox: bearerbox, _smsbox: smsbox, folder }
    }

    /// Submits through the HTTP face, which accepts.
    async fn send(&self, payload: &[u8], header: &[u8]) {
        let path = format!(
            "/cgi-bin/sendsms?username=test&password=test&from=2001&to={CARD}&coding=1&mclass=2&alt-dcs=1&pid=127&text={}&udh={}",
            url_encode(payload),
            url_encode(header)
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.sendsms_port)).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.contains("0: Accepted"), "smsbox answers {answer:?}; its log: {}", self.log("smsbox.log"));
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// The next message of a phone as smsbox tells it: the parameters of its request.
    async fn received(&self) -> Vec<(String, Vec<u8>)> {
        let (mut stream, _) = timeout(PATIENCE, self.web.accept()).await.unwrap().unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the request ended early");
            request.extend_from_slice(&chunk[..count]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let line = String::from_utf8(request).unwrap();
        let query = line.split_whitespace().nth(1).and_then(|path| path.split_once('?')).unwrap().1;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), url_decode(value)))
            .collect()
    }
}

async fn wait_for_port(port: u16) {
    let opened = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, opened).await.expect("Kannel opens its port");
}

fn url_encode(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "%{octet:02X}").unwrap();
        text
    })
}

fn url_decode(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    octets
}

async fn to_phone(phones: &mut mpsc::Receiver<MobileTerminated>) -> MobileTerminated {
    timeout(PATIENCE, phones.recv()).await.unwrap().unwrap()
}

/// Covers: PF-08
#[tokio::test]
async fn kannel_binds_and_binary_messages_pass_both_ways() {
    peer::require(&[BEARERBOX, SMSBOX], "kannel");
    let stop = CancellationToken::new();
    let config = SmscConfig { redelivery_min: Duration::from_millis(200), ..SmscConfig::default() };
    let (smsc, mut phones) = Smsc::start(config, stop.clone()).await.unwrap();
    let kannel = Kannel::start(&smsc).await;
    let all: Vec<u8> = (0..=255).collect();
    for payload in all.chunks(128) {
        kannel.send(payload, &[]).await;
        let phone = to_phone(&mut phones).await;
        assert_eq!(phone.payload, payload);
        assert_eq!((phone.data_coding, phone.protocol_id, phone.user_data_header), (0xF6, 127, false));
        assert_eq!((phone.msisdn.as_str(), phone.originator.as_str()), (Some(CARD), Some("2001")));

        let offered = tokio::spawn({
            let (smsc, payload) = (smsc.clone(), Bytes::copy_from_slice(payload));
            async move { smsc.mobile_originated(from_card(payload, false)).await }
        });
        let parameters = kannel.received().await;
        let value = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());
        assert_eq!(value("body"), Some(payload));
        assert_eq!(value("coding"), Some(&b"1"[..]));
        assert_eq!(offered.await.unwrap().delivery, Delivery::Accepted);
    }
    // With a user data header (a secured packet's): Kannel sets UDHI, and reads it.
    let header = [2, 0x70, 0];
    kannel.send(&[0xAA, 0x00], &header).await;
    let phone = to_phone(&mut phones).await;
    assert!(phone.user_data_header);
    assert_eq!(phone.payload, [&header[..], &[0xAA, 0x00]].concat());
    let smsc_side = tokio::spawn({
        let smsc = smsc.clone();
        let payload = Bytes::from_static(&[2, 0x70, 0, 0xBB, 0x00]);
        async move { smsc.mobile_originated(from_card(payload, true)).await }
    });
    let parameters = kannel.received().await;
    assert!(parameters.contains(&("udh".to_owned(), header.to_vec())), "{parameters:?}");
    assert!(parameters.contains(&("body".to_owned(), vec![0xBB, 0x00])));
    assert_eq!(smsc_side.await.unwrap().delivery, Delivery::Accepted);
    // A cut: Kannel binds again, and what was offered meanwhile arrives.
    smsc.cut_links(false).await;
    let offered = tokio::spawn({
        let smsc = smsc.clone();
        async move { smsc.mobile_originated(from_card(Bytes::from_static(&[1, 2, 3]), false)).await }
    });
    let parameters = kannel.received().await;
    assert!(parameters.contains(&("body".to_owned(), vec![1, 2, 3])));
    assert_eq!(offered.await.unwrap().delivery, Delivery::Accepted);
    stop.cancel();
}

fn from_card(payload: Bytes, user_data_header: bool) -> MobileOriginated {
    MobileOriginated {
        msisdn: Number::new(CARD).unwrap(),
        destination: Number::new("2001").unwrap(),
        protocol_id: 0,
        data_coding: 0xF6,
        user_data_header,
        payload,
        message_reference: None,
    }
}

//! The same with servers from Debian's packages: `.ci/run minisup` installs and runs them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{signal, until_dead, Site};
use crate::process::is_alive;

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn exchange(port: u16, request: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = stream.write_all(request.as_bytes());
        // A server that dies resets the connection.
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

fn pings(port: u16) -> bool {
    exchange(port, "PING\r\nQUIT\r\n").contains("+PONG")
}

fn serves(port: u16) -> bool {
    exchange(port, "GET / HTTP/1.0\r\n\r\n").contains("hello")
}

/// The living children of a process.
fn children(pid: &str) -> Vec<String> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter(|pid| is_alive(pid)).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the packages redis-server and nginx-light"]
fn redis_and_nginx_survive_what_is_killed_and_end_with_the_tool() {
    let (redis, web) = (port(), port());
    let config = format!(
        r#"
[redis]
command = ["redis-server", "--port", "{redis}", "--bind", "127.0.0.1", "--save", "", "--dir", "."]
ready = "port 127.0.0.1:{redis}"
backoff = 0.01

[nginx]
command = ["nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
after = ["redis"]
ready = "port 127.0.0.1:{web}"
backoff = 0.01
stop = {{ signal = "QUIT", time = 5 }}
"#
    );
    let mut site = Site::new("real", &config);
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|kind| format!("{kind}_temp_path {kind};")).join(" ");
    let user = if fs::metadata("/proc/self").is_ok_and(|_| rustix::process::getuid().is_root()) {
        "user root;"
    } else {
        ""
    };
    let nginx = format!(
        "{user} pid nginx.pid; worker_processes 2; events {{}} http {{ access_log off; {temp} \
         server {{ listen 127.0.0.1:{web}; location / {{ return 200 hello; }} }} }}"
    );
    fs::write(site.path("nginx.conf"), nginx).unwrap();
    site.start();
    site.until(|site| site.file("said").contains("group_ready"));
    assert!(pings(redis) && serves(web));

    // A leader.
    let first = site.pid("redis");
    signal("KILL", &first);
    site.new_pid("redis", &first);
    site.until(|_| pings(redis));

    // A worker: nginx itself replaces it.
    let master = site.pid("nginx");
    site.until(|_| children(&master).len() == 2);
    let worker = children(&master).remove(0);
    signal("KILL", &worker);
    site.until(|_| children(&master).len() == 2 && !children(&master).contains(&worker));
    assert!(is_alive(&master) && serves(web));
    assert_eq!(site.pid("nginx"), master);

    // A leader with workers: they hold the port, so they must be gone before the next one.
    let workers = children(&master);
    signal("KILL", &master);
    let second = site.new_pid("nginx", &master);
    for worker in &workers {
        until_dead(worker);
    }
    site.until(|_| children(&second).len() == 2 && serves(web));

    // The tool.
    let (old_redis, old_nginx) = (site.pid("redis"), site.pid("nginx"));
    let workers = children(&old_nginx);
    site.kill();
    assert!(is_alive(&old_redis) && is_alive(&old_nginx) && pings(redis) && serves(web));
    fs::write(site.path("said"), "").unwrap();
    site.start();
    site.until(|site| site.file("said").contains("group_ready"));
    assert!(!is_alive(&old_redis) && !is_alive(&old_nginx));
    assert!(workers.iter().all(|worker| !is_alive(worker)));
    assert!(pings(redis) && serves(web));

    let last = [site.pid("redis"), site.pid("nginx")];
    let workers = children(&last[1]);
    site.stop();
    assert!(last.iter().chain(&workers).all(|pid| !is_alive(pid)));
}

//! What the processes of these tests do: this test program, started anew with the name of a role in `ACT`.

#![allow(unsafe_code, reason = "only the system itself waits for an event")]

use std::{
    env,
    fs::OpenOptions,
    io::Write as _,
    process::{Command, exit},
    thread::sleep,
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::HANDLE,
    System::Threading::{INFINITE, OpenEventW, SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject},
};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(1000);

/// The role, if this process has one. Its arguments look like names of tests.
#[test]
fn acting() {
    let Ok(role) = env::var("ACT") else {
        return;
    };
    match role.as_str() {
        "arguments" => {
            for argument in env::args()
                .skip_while(|argument| argument != "--exact")
                .skip(1)
            {
                println!("argument <{argument}>");
            }
        }
        "environment" => {
            for (name, value) in env::vars() {
                println!("variable {name}={value}");
            }
        }
        "exit" => exit(number("CODE")),
        "sleep" => hold_and_sleep(),
        // Whoever waits for the file of the second knows whether it lives.
        "family" => {
            let mut child = Command::new(env::current_exe().unwrap());
            child.args(env::args().skip(1)).env("ACT", "sleep");
            let mut child = child
                .env("HOLD", env::var("HOLD").unwrap() + ".child")
                .spawn()
                .unwrap();
            if env::var("LEAVE").is_ok() {
                // The child is an orphan from now on.
                await_lock(&(env::var("HOLD").unwrap() + ".child"));
                exit(0);
            }
            let _ = child.wait();
        }
        // Starts processes of its own, as an agent does.
        "agent" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(super::handles::start_many());
        }
        "polite" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let mut asked = tokio::signal::windows::ctrl_break().unwrap();
                println!("listening");
                asked.recv().await;
                println!("asked to end");
            });
            exit(3);
        }
        // Ignores Ctrl-Break, as a program without a console does.
        "windowless" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let _ignored = runtime.block_on(async { tokio::signal::windows::ctrl_break() });
            let name: Vec<u16> = env::var("QUAESTOR_STOP_EVENT")
                .unwrap()
                .encode_utf16()
                .chain([0])
                .collect();
            // SAFETY: the name ends with a zero; the handle is this process's until it ends.
            let event: HANDLE =
                unsafe { OpenEventW(SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr()) };
            assert!(!event.is_null(), "no event");
            println!("listening");
            // SAFETY: the handle is open.
            unsafe { WaitForSingleObject(event, INFINITE) };
            exit(4);
        }
        "deaf" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let _ignored = runtime.block_on(async { tokio::signal::windows::ctrl_break() });
            println!("listening");
            sleep(LONG);
        }
        "busy" => {
            println!("listening");
            let mut some = vec![1_u8; 32 << 20];
            loop {
                for byte in &mut some {
                    *byte = byte.wrapping_mul(3);
                }
                std::hint::black_box(&some);
            }
        }
        "chatty" => {
            for line in 0..number("LINES") {
                println!("line {line}");
                // In one piece: what stands still in between is two lines.
                let text = format!("error {line}\n");
                std::io::stderr().write_all(text.as_bytes()).unwrap();
            }
        }
        other => panic!("there is no role `{other}`"),
    }
    exit(0);
}

fn number(name: &str) -> i32 {
    env::var(name).unwrap().parse().unwrap()
}

/// Keeps a file locked for as long as this process lives.
fn hold_and_sleep() {
    let file = env::var("HOLD").unwrap();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)
        .unwrap();
    file.lock().unwrap();
    println!("listening");
    sleep(LONG);
}

fn await_lock(path: &str) {
    loop {
        let file = OpenOptions::new().write(true).open(path);
        if file.is_ok_and(|file| file.try_lock().is_err()) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

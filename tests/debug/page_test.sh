#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The page of go_debug_serve in a browser: what its script makes of the program's state, and its buttons.
# test: timeout=300
. "$(dirname "$0")/../script.sh"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$browser" ]; then
    skip "the page in a browser" "no chromium"
    finish
fi

cat >"$work/user.c" <<'END'
#include <goroutine.h>
#include <stdio.h>
static go_mutex lock;
static void receive(chan(int) c)
{
    chan_recv(c, NULL);
}
static void nap(void)
{
    go_sleep(1000 * GO_SECOND);
}
static void want(void)
{
    go_mutex_lock(&lock);
}
static void come_and_go(void)
{
    for (;;) {
        go(go_yield);
        go_sleep(GO_MILLISECOND);
    }
}
int main(void)
{
    char address[64];
    chan(int) c = chan_make(int, 0);
    go_mutex_lock(&lock);
    for (int i = 0; i < 12; i++)
        go(receive, c); /* here: receive */
    for (int i = 0; i < 3; i++)
        go_with(((go_options){ .name = "<i>nap</i> & \"rest\"" }), nap); /* here: nap */
    go(want); /* here: want */
    go_with(((go_options){ .name = "comer" }), come_and_go);
    go_sleep(10 * GO_MILLISECOND);
    int listener = go_debug_serve("127.0.0.1:0");
    if (listener < 0 || go_local_address(listener, address, sizeof address) <= 0)
        return 1;
    printf("%s\n", address);
    fflush(stdout);
    chan_recv(c, NULL);
    return 0;
}
END
gcc -g -O1 -I"$root/include" -o "$work/user" "$work/user.c" "$build/libgoroutine.a" -pthread || exit 1
GOMAXPROCS=2 "$work/user" >"$work/address" &
program=$!
for _ in $(seq 100); do
    [ -s "$work/address" ] && break
    sleep 0.05
done
url=http://$(<"$work/address")/

# The browser asks nobody but the program and writes nothing outside of the scratch directory. The sandbox and /dev/shm: as root and in
# containers there is no room for them.
export HOME=$work/home TMPDIR=$work/home
unset DBUS_SESSION_BUS_ADDRESS DISPLAY XDG_CONFIG_HOME XDG_CACHE_HOME XDG_RUNTIME_DIR
mkdir "$work/home"
chromium() {
    timeout -k 5 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --disable-breakpad --disable-background-networking --disable-component-update --disable-sync --no-proxy-server \
        --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' --user-data-dir="$work/home/profile" "$@"
}

# --- what is shown after some looks, as the browser's own text of the document ---

chromium --virtual-time-budget=5000 --dump-dom "$url" >"$work/dom" 2>"$work/browser"
dom=$(sed '/<script>/,/<\/script>/d' "$work/dom" | tr '\n' '|')
shows() { # NAME REGEX
    if grep -qE -- "$2" <<<"$dom"; then ok "$1"; else fail "$1" "no '$2' in: $dom $(tail -n 3 "$work/browser")"; fi
}
line() { # WORD: of the statement with this remark
    grep -n "here: $1" "$work/user.c" | cut -d: -f1
}
# group COUNT STATE NAME-AND-ORIGIN FRAMES
group() {
    echo "<summary><b>$1</b><span class=\"state\">\[$2\]</span> $3</summary><pre>$4</pre></details>"
}
created="created by main at [^ ]*user\.c"
shows "answered" 'id="status">as of '
shows "figures: goroutines" '<span><b>1[89]</b>goroutines</span>' # the comer launches one now and then
shows "figures: those that wait" '<span><b>1[78]</b>waiting</span>'
shows "figures: launches" '<span><b>[1-9][0-9,]*</b>launches/s</span>'
shows "figures: threads and stacks" '<b>[1-9]</b>threads</span><span><b>[0-9]+</b>MiB of stacks'
shows "the line of goroutines" '<polyline id="line" points="0,[0-9.]+ 1,[0-9.]+ '
shows "two Ps" 'id="procs"><div class="proc( on)?">P0 · queue [0-9]+ · [0-9,]+ switches/s<div class="bar" .*>P1 · [^P]*</div></div>\|'
shows "groups: the largest is the first" "id=\"groups\"><details>$(group 12 'chan receive' "$created:$(line receive)" '[^<]*receive  [^<|]*user\.c:6\|goroutine ([0-9]+, ){10}…')"
shows "groups: a name is text" "$(group 3 sleep "\"&lt;i&gt;nap&lt;/i&gt; &amp; \"rest\"\" $created:$(line nap)" 'go_sleep[^<|]*\|nap  [^<|]*user\.c:10\|goroutine ([0-9]+, ){2}[0-9]+')"
shows "groups: a mutex" "$(group 1 'sync.Mutex.Lock' "$created:$(line want)" '[^<]*want  [^<|]*user\.c:14\|goroutine [0-9]+')"
shows "groups: main" "$(group 1 'chan receive' main '[^<]*main  [^<]*\|goroutine 1')"
if grep -q debug_serve <<<"$dom"; then fail "groups: not the server's" "$dom"; else ok "groups: not the server's"; fi

# --- what the buttons do: commands to the browser, each ended by a zero byte, and its answers ---

mkfifo "$work/to" "$work/from"
exec {to}<>"$work/to" {from}<>"$work/from"
chromium --remote-debugging-pipe about:blank 3<&"$to" 4>&"$from" {to}<&- {from}<&- 2>"$work/browser" >&2 &
pid=$!
commands=0 session='' patience=30000 silence=60
# ask METHOD PARAMETERS: $answer
ask() {
    commands=$((commands + 1))
    printf '{"id":%d,%s"method":"%s","params":{%s}}\0' $commands "${session:+\"sessionId\":\"$session\",}" "$1" "$2" >&"$to"
    while IFS= read -r -d '' -t $silence answer <&"$from"; do
        [[ $answer != "{\"id\":$commands,"* ]] || return 0
    done
    answer="no answer to $1 $2; $(tail -n 3 "$work/browser")"
    silence=1
    return 1
}
answer_of() { # KEY
    sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/" <<<"$answer"
}
# comes NAME CONDITION: the condition, in JavaScript without double quotes, becomes true in the page.
comes() {
    for _ in $(seq 20); do
        ask Runtime.evaluate "\"awaitPromise\":true,\"returnByValue\":true,\"expression\":\"new Promise(done => {
            const end = Date.now() + $patience;
            const look = () => ($2) ? done(true) : Date.now() > end ? done(document.body.innerText) : setTimeout(look, 20);
            look(); })\"" || break
        [[ $answer != *'"value":'* ]] || break
        sleep 0.2 # the question has gone, with the empty page that was there before
    done
    if [[ $answer == *'"value":true'* ]]; then
        ok "$1"
    else
        fail "$1" "$answer"
        patience=3000 # for the rest, which may come after what did not
    fi
}
does() { # STATEMENT
    ask Runtime.evaluate "\"userGesture\":true,\"expression\":\"$1\""
}
ask Browser.setDownloadBehavior "\"behavior\":\"allow\",\"downloadPath\":\"$work\""
ask Target.createTarget "\"url\":\"$url\""
ask Target.attachToTarget "\"flatten\":true,\"targetId\":\"$(answer_of targetId)\""
session=$(answer_of sessionId)
# JavaScript of the page's own: the group of those that nap.
naps="[...document.querySelectorAll('details')].find(d => d.textContent.includes('<i>nap'))"
comes "two looks" "history.length > 1 && $naps"

does "$naps.open = true; window.opened = $naps"
comes "what is open stays open" "$naps !== opened && $naps.open"

does "\$('pause').click()"
comes "pause: the button says so" "\$('pause').textContent == 'go on'"
does "window.looks = history.length; window.started = Date.now()"
comes "pause: nothing is asked" "Date.now() > started + 2500 && history.length <= looks + 1" # one may be under way
does "\$('pause').click(); window.looks = history.length"
comes "pause: it goes on" "\$('pause').textContent == 'pause' && history.length > looks"

does "\$('trace').click(); window.waits = \$('trace').disabled"
comes "record: the button waits" "waits"
comes "record: the button is done" "!\$('trace').disabled && \$('note').textContent.startsWith('trace.json is for ')"
for _ in $(seq 200); do
    [ -s "$work/trace.json" ] && break
    sleep 0.05
done
# recorded NAME REGEX
recorded() {
    if grep -qE -- "$2" "$work/trace.json"; then ok "$1"; else fail "$1" "no '$2' in: $(head -c 1000 "$work/trace.json" 2>&1)"; fi
}
recorded "record: a file of events" '^\{"displayTimeUnit":"ns","traceEvents":\[$'
recorded "record: to its end" '^"otherData":\{.*\}\}$'
recorded "record: who ran, and what then" '"name":"comer [0-9]+".*"then":"sleep"'
recorded "record: both Ps" '"name":"thread_name","args":\{"name":"P1"\}'

kill $program
wait $program
comes "the program is gone: it says so" "\$('status').textContent.startsWith('no answer: ')"
does "\$('trace').click()"
comes "the program is gone: the button can be pressed again" "!\$('trace').disabled && \$('note').textContent.startsWith('no trace: ')"

ask Browser.close ''
wait $pid
finish

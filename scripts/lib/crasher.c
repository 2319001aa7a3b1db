/* The program that supervisors are measured with. usage: crasher FILE | crasher --supervise FILE
 *
 * It writes a line into FILE when it starts and, crashed by SIGUSR1, when it ends: what it did, its pid, and the
 * monotonic clock in nanoseconds. `--supervise` is the least that a supervisor can do: fork, exec, wait, again. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int file;

static void note(const char *what) {
    struct timespec now;
    char line[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %d %lld\n", what, (int)getpid(),
                          now.tv_sec * 1000000000LL + now.tv_nsec);
    if (write(file, line, length) != length) _exit(3);
}

static void supervise(char **arguments) {
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execv(arguments[0], arguments);
            _exit(127);
        }
        waitpid(child, NULL, 0);
    }
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "--supervise") == 0)
        supervise((char *[]){arguments[0], arguments[2], NULL});
    /* As the interpreter of runit's `run` it is given that file's name as well. */
    if (count < 2) return 2;
    file = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return 3;
    sigset_t crash;
    sigemptyset(&crash);
    sigaddset(&crash, SIGUSR1);
    sigprocmask(SIG_BLOCK, &crash, NULL);
    note("start");
    int which;
    sigwait(&crash, &which);
    note("end");
    _exit(1);
}

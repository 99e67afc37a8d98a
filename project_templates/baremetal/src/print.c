/* SPDX-License-Identifier: Apache-2.0
 *
 * What the application prints, line by line to the host, beside the link's own frames. The C library calls the rest of
 * this file where printf() is used; the linker drops all of it where it is not.
 */
#include <stdio.h>

#include "mtvm_rpc.h"
#include "platform.h"

static char line[MTVM_LOG_BYTES];
static size_t filled;

void print_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        line[filled++] = text[i];
        if (text[i] == '\n' || filled == sizeof(line)) {
            link_log(line, filled);
            filled = 0;
        }
    }
}

#ifdef __PICOLIBC__
static int put_character(char character, FILE *stream)
{
    (void)stream;
    print_text(&character, 1);
    return (unsigned char)character;
}

static FILE link_stream = FDEV_SETUP_STREAM(put_character, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdout = &link_stream;
FILE *const stderr = &link_stream;
#else
struct stat;

/* What newlib wants of a system: files 1 and 2 are the link, and there is no heap, so that streams have no buffer. */
int _write(int file, const char *text, int size);
int _write(int file, const char *text, int size)
{
    if (file != 1 && file != 2) {
        return -1;
    }
    print_text(text, (size_t)size);
    return size;
}

void *_sbrk(ptrdiff_t size);
void *_sbrk(ptrdiff_t size)
{
    (void)size;
    return (void *)-1;
}

int _fstat(int file, struct stat *state);
int _fstat(int file, struct stat *state)
{
    (void)file;
    (void)state;
    return -1;
}

int _isatty(int file);
int _isatty(int file)
{
    (void)file;
    return 0;
}

int _close(int file);
int _close(int file)
{
    (void)file;
    return -1;
}

int _lseek(int file, int offset, int whence);
int _lseek(int file, int offset, int whence)
{
    (void)file;
    (void)offset;
    (void)whence;
    return -1;
}

int _read(int file, char *text, int size);
int _read(int file, char *text, int size)
{
    (void)file;
    (void)text;
    (void)size;
    return -1;
}

int _getpid(void);
int _getpid(void)
{
    return 1;
}

int _kill(int process, int signal);
int _kill(int process, int signal)
{
    (void)process;
    (void)signal;
    return -1;
}

/* Where abort() ends, which printf() itself has asked for. */
void _exit(int status);
void _exit(int status)
{
    (void)status;
    fault_report("abort", NULL, 0);
    board_reset();
    for (;;) {
    }
}
#endif

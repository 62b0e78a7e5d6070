/* The lines of log files as columns: an Arrow stream that DuckDB reads in place of its own JSON reader.

   It does nothing that the JSON reader does not, but in one pass, with the checks of an envelope in it: a query that
   reads five columns of a million lines takes what it takes to look at each byte once. A line that it does not
   understand completely (which no program of this package writes) marks its file as odd: whoever asks then reads that
   file with DuckDB's reader. So it decides in one direction only.

   A column has a name, a kind, and the keys where its value stands: in the payload, beside it, or both.

     T text            j JSON text          i integer        d double      b boolean      L list of text
     u, w, n           time in microseconds since 1970, writer and number of the event
     e                 kind of the event: `type`, else `event_type` of the payload, else "log"
     f                 the name of the file

   The streams run without the interpreter's lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* https://arrow.apache.org/docs/format/CDataInterface.html */
struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

enum {
    BUFFER_BYTES = 1 << 20,
    MOST_DIGITS = 18,
    BATCH_ROWS = 8192,
    BATCH_BYTES = 4 << 20, /* of lines: a batch of long ones ends sooner */
    MOST_DEPTH = 512,
    MOST_COLUMNS = 256,
    MOST_KINDS = 250,
    ERROR_BIT = 1 << 8,
    NO_NUMBER = 1 << 28, /* from here on numbers are not counted here */
    WINDOW_BYTES = 1 << 16,
    BLOCK_LINES = 64,
    SLOTS = 64
};
enum { FINE = 0, ODD = 1, GONE = 2 };
enum { FAILED = -1, NOT_READ = 0, READ = 1, NOT_ASKED = 2 }; /* what became of a line */

typedef struct {
    char kind;
    char *name, *inner, *outer; /* the keys in the payload and beside it; NULL where it is not looked for */
    int inner_len, outer_len;
} Column;

/* Where the lines of a file are, and what they are: a byte for the kind, ERROR_BIT for the level. */
typedef struct {
    char *path;
    uint64_t inode;
    int64_t size;
    int64_t lines, room;
    uint32_t *length;
    uint16_t *what;
    int64_t *ends_us; /* the first and the last time of each block of lines */
} File;

typedef struct {
    char name[9];
    int64_t bytes;
    uint8_t *bits; /* one for each number */
} Writer;

/* The files of a session, shared by what is asked of them. The first pass over everything leaves an index. */
typedef struct {
    atomic_int references;
    int newest_schema, files, max_line;
    File *file;
    atomic_int is_indexed, is_claimed; /* whether the index is whole; whether a stream makes it */
    int kinds, writers, is_double;
    char *kind[MOST_KINDS];
    int kind_len[MOST_KINDS];
    Writer *writer;
    int64_t first_us, last_us;
} Files;

/* What is asked of the lines, shared by the object and its streams. */
typedef struct {
    atomic_int references;
    Files *files;
    int columns;
    Column *column;
    atomic_uchar *marks;
    char **kind; /* only events of these kinds, and those of an error's level; NULL for all */
    int *kind_len;
    int kinds, with_errors, is_filtered;
    int64_t since_us, until_us;
    int16_t inner_slot[SLOTS], outer_slot[SLOTS], inner_next[MOST_COLUMNS], outer_next[MOST_COLUMNS];
} Question;

static void drop_files(Files *files) {
    if (atomic_fetch_sub(&files->references, 1) != 1) return;
    for (int at = 0; at < files->files; at++) {
        free(files->file[at].path);
        free(files->file[at].length);
        free(files->file[at].what);
        free(files->file[at].ends_us);
    }
    for (int at = 0; at < files->kinds; at++) free(files->kind[at]);
    for (int at = 0; at < files->writers; at++) free(files->writer[at].bits);
    free(files->writer);
    free(files->file);
    free(files);
}

static void drop_question(Question *question) {
    if (atomic_fetch_sub(&question->references, 1) != 1) return;
    for (int at = 0; at < question->columns; at++) {
        free(question->column[at].name);
        free(question->column[at].inner);
        free(question->column[at].outer);
    }
    for (int at = 0; at < question->kinds; at++) free(question->kind[at]);
    free(question->kind);
    free(question->kind_len);
    free(question->column);
    free(question->marks);
    drop_files(question->files);
    free(question);
}

/* One column of the batch that is being made. */
typedef struct {
    uint8_t *valid;
    char *data;     /* of text: its bytes; else the values */
    int32_t *offsets, *inner_offsets; /* of text and lists; of the texts in a list */
    int64_t used, room, nulls, texts, texts_room;
    int is_set;
} Building;

typedef struct {
    Question *question;
    int at_file, fd;
    int64_t size, offset, held, line_at; /* of the file; in it; in the buffer; up to where the buffer was taken */
    char *buffer;
    int64_t buffer_bytes;
    char *text; /* room for a text without its escapes */
    int64_t text_bytes;
    Building *building;
    int64_t rows, line_bytes;
    int64_t at_line; /* of a file whose lines are known */
    int makes_index;
    const char *kind, *level; /* of the line that is read */
    int kind_len, level_len;
    const char *error;
} Stream;

/* ---- what a line holds ---- */

static int digits(const char *at, int count) {
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') return -1;
        value = value * 10 + at[i] - '0';
    }
    return value;
}

static int is_date(int year, int month, int day) {
    static const unsigned char DAYS[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || year > 2099 || month < 1 || month > 12 || day < 1) return 0;
    return day <= DAYS[month] + (month == 2 && year % 4 == 0);
}

static int64_t days_since_1970(int year, int month, int day) {
    static const short BEFORE[13] = {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int leap = (year - 1969) / 4; /* from 1970 to 2099 every fourth year is one */
    return (int64_t)(year - 1970) * 365 + leap + BEFORE[month] + (month > 2 && year % 4 == 0) + day - 1;
}

typedef struct {
    int64_t us, seq;
    const char *time, *id, *rest; /* the text of the time, that of the id, and what follows the version */
    int id_len, version;
} Head;

/* {"timestamp":"2026-11-20T10:30:45.000002Z","id":"sfhtuqh7-3","schema_version":1, ... } */
static int read_head(const char *line, const char *end, int newest_schema, Head *head) {
    static const char FIRST[] = "{\"timestamp\":\"", SECOND[] = "Z\",\"id\":\"", THIRD[] = "\",\"schema_version\":";
    enum { TIME_AT = sizeof FIRST - 1, ID_AT = TIME_AT + 26 + sizeof SECOND - 1, SEQ_AT = ID_AT + 9 };
    if (end - line < SEQ_AT + 2 || end[-1] != '}') return 0;
    if (memcmp(line, FIRST, sizeof FIRST - 1) != 0) return 0;
    const char *time = line + TIME_AT;
    if (time[4] != '-' || time[7] != '-' || time[10] != 'T' || time[13] != ':' || time[16] != ':' || time[19] != '.')
        return 0;
    int year = digits(time, 4), month = digits(time + 5, 2), day = digits(time + 8, 2);
    if (!is_date(year, month, day)) return 0;
    int hour = digits(time + 11, 2), minute = digits(time + 14, 2), second = digits(time + 17, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
    int us = digits(time + 20, 6);
    if (us < 0 || memcmp(time + 26, SECOND, sizeof SECOND - 1) != 0) return 0;
    for (const char *at = line + ID_AT; at < line + SEQ_AT - 1; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9'))) return 0;
    if (line[SEQ_AT - 1] != '-') return 0;
    const char *at = line + SEQ_AT;
    head->seq = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - line < SEQ_AT + MOST_DIGITS) head->seq = head->seq * 10 + *at++ - '0';
    if (at == line + SEQ_AT || (line[SEQ_AT] == '0' && at > line + SEQ_AT + 1)) return 0;
    head->time = time;
    head->id = line + ID_AT;
    head->id_len = (int)(at - head->id);
    if (end - at < (Py_ssize_t)sizeof THIRD + 1 || memcmp(at, THIRD, sizeof THIRD - 1) != 0) return 0;
    at += sizeof THIRD - 1;
    if (*at < '1' || *at > '0' + newest_schema || at[1] != ',') return 0;
    head->version = *at - '0';
    head->rest = at + 2;
    head->us = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60000000 + second * 1000000LL + us;
    return 1;
}

/* The length of the UTF-8 character at `at`, which is no ASCII; 0 where there is none. */
static int character(const unsigned char *at, const unsigned char *end) {
    int more, low = 0x80, high = 0xBF;
    if (*at >= 0xC2 && *at <= 0xDF) more = 1;
    else if (*at >= 0xE0 && *at <= 0xEF) {
        more = 2;
        if (*at == 0xE0) low = 0xA0;
        if (*at == 0xED) high = 0x9F; /* no surrogates */
    } else if (*at >= 0xF0 && *at <= 0xF4) {
        more = 3;
        if (*at == 0xF0) low = 0x90;
        if (*at == 0xF4) high = 0x8F;
    } else return 0;
    if (end - at <= more || at[1] < low || at[1] > high) return 0;
    for (int i = 2; i <= more; i++)
        if (at[i] < 0x80 || at[i] > 0xBF) return 0;
    return more + 1;
}

static int hexadecimal(const char *at) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The end of a text whose opening quote is behind `at`, the closing quote; NULL where it is not one. */
static const char *text_end(const char *at, const char *end, int *escaped) {
    const uint64_t ONES = 0x0101010101010101u, HIGH = 0x8080808080808080u;
    for (;;) {
        while (end - at >= 8) {
            uint64_t eight, quotes, slashes;
            memcpy(&eight, at, 8);
            quotes = eight ^ ONES * '"';
            slashes = eight ^ ONES * '\\';
            /* a quote, a backslash, what stands before the space, and what is no ASCII: the first of them is exact */
            uint64_t found = (((quotes - ONES) & ~quotes) | ((slashes - ONES) & ~slashes) | ((eight - ONES * ' ') & ~eight) | eight) & HIGH;
            if (found) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
                at += __builtin_ctzll(found) >> 3;
#endif
                break;
            }
            at += 8;
        }
        if (at >= end) return NULL;
        unsigned char c = (unsigned char)*at;
        if (c == '"') return at;
        if (c < ' ') return NULL;
        if (c == '\\') {
            *escaped = 1;
            if (end - at < 2) return NULL;
            char what = at[1];
            if (what == 'u') {
                if (end - at < 6) return NULL;
                int unit = hexadecimal(at + 2);
                if (unit <= 0) return NULL;
                at += 6;
                if (unit >= 0xDC00 && unit <= 0xDFFF) return NULL;
                if (unit >= 0xD800 && unit <= 0xDBFF) {
                    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
                    int other = hexadecimal(at + 2);
                    if (other < 0xDC00 || other > 0xDFFF) return NULL;
                    at += 6;
                }
            } else if (memchr("\"\\/bfnrt", what, 8) != NULL) at += 2;
            else return NULL;
        } else if (c >= 0x80) {
            int length = character((const unsigned char *)at, (const unsigned char *)end);
            if (length == 0) return NULL;
            at += length;
        } else at++;
    }
}

static const char *number_end(const char *at, const char *end, int *is_whole) {
    *is_whole = 1;
    if (at < end && *at == '-') at++;
    if (at >= end || *at < '0' || *at > '9') return NULL;
    if (*at == '0' && at + 1 < end && at[1] >= '0' && at[1] <= '9') return NULL;
    while (at < end && *at >= '0' && *at <= '9') at++;
    if (at < end && *at == '.') {
        *is_whole = 0;
        const char *first = ++at;
        while (at < end && *at >= '0' && *at <= '9') at++;
        if (at == first) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        *is_whole = 0;
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        const char *first = at;
        while (at < end && *at >= '0' && *at <= '9') at++;
        if (at == first) return NULL;
    }
    return at;
}

static const char *literal_end(const char *at, const char *end) {
    if (end - at >= 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) return at + 4;
    if (end - at >= 5 && memcmp(at, "false", 5) == 0) return at + 5;
    return NULL;
}

/* The end of a value without any space between its tokens; NULL where it is none, or written otherwise. */
static const char *value_end(const char *at, const char *end) {
    uint8_t in_object[MOST_DEPTH];
    int depth = 0, ignored;
    for (;;) {
        if (at >= end) return NULL;
        char c = *at;
        if (c == '"') {
            if ((at = text_end(at + 1, end, &ignored)) == NULL) return NULL;
            at++;
        } else if (c == '{' || c == '[') {
            if (depth == MOST_DEPTH || end - at < 2) return NULL;
            if (at[1] == (c == '{' ? '}' : ']')) at += 2;
            else {
                in_object[depth++] = c == '{';
                at++;
                if (c == '[') continue;
                goto key;
            }
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            if ((at = number_end(at, end, &ignored)) == NULL) return NULL;
        } else if ((at = literal_end(at, end)) == NULL) return NULL;
        for (;;) { /* after a value */
            if (depth == 0) return at;
            if (at >= end) return NULL;
            if (*at == ',') {
                at++;
                if (in_object[depth - 1]) goto key;
                break;
            }
            if (*at != (in_object[depth - 1] ? '}' : ']')) return NULL;
            depth--;
            at++;
        }
        continue;
    key:
        if (at >= end || *at != '"' || (at = text_end(at + 1, end, &ignored)) == NULL) return NULL;
        if (end - at < 2 || at[1] != ':') return NULL;
        at += 2;
    }
}

/* ---- building a batch ---- */

static int grown(char **data, int64_t *room, int64_t wanted) {
    if (wanted <= *room) return 1;
    int64_t bytes = *room ? *room : 1024;
    while (bytes < wanted) bytes *= 2;
    char *bigger = realloc(*data, (size_t)bytes);
    if (bigger == NULL) return 0;
    *data = bigger;
    *room = bytes;
    return 1;
}

static int is_text(char kind) { return strchr("Tjwef", kind) != NULL || kind == 't' || kind == '#'; }

static int put_bytes(Building *to, const char *bytes, int64_t length) {
    if (to->used + length > INT32_MAX || !grown(&to->data, &to->room, to->used + length)) return 0;
    memcpy(to->data + to->used, bytes, (size_t)length);
    to->used += length;
    return 1;
}

static void set_valid(Building *to, int64_t row) {
    to->valid[row >> 3] |= (uint8_t)(1 << (row & 7));
    to->is_set = 1;
}

/* A text without its escapes, which `text_end` has seen. */
static int64_t unescaped(const char *at, const char *end, char *to) {
    char *begin = to;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        char what = at[1];
        if (what != 'u') {
            static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
            *to++ = TO[strchr(FROM, what) - FROM];
            at += 2;
            continue;
        }
        uint32_t point = (uint32_t)hexadecimal(at + 2);
        at += 6;
        if (point >= 0xD800 && point <= 0xDBFF) {
            point = 0x10000 + ((point - 0xD800) << 10) + ((uint32_t)hexadecimal(at + 2) - 0xDC00);
            at += 6;
        }
        if (point < 0x80) *to++ = (char)point;
        else {
            int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
            static const uint8_t LEAD[] = {0, 0xC0, 0xE0, 0xF0};
            *to++ = (char)(LEAD[more] | point >> 6 * more);
            while (more--) *to++ = (char)(0x80 | (point >> 6 * more & 0x3F));
        }
    }
    return to - begin;
}

/* Whether no number of fewer digits is read as the same: those of 15 and less never are. */
static int is_shortest(const char *at, const char *end) {
    char copy[32], other[32];
    if (end - at >= (Py_ssize_t)sizeof copy) return 0;
    memcpy(copy, at, (size_t)(end - at));
    copy[end - at] = 0;
    char *stopped;
    double value = strtod(copy, &stopped);
    if (*stopped != 0 || value < 1e-4 || value >= 1e15) return 0;
    int needed = 15;
    do snprintf(other, sizeof other, "%.*g", needed, value);
    while (strtod(other, NULL) != value && ++needed < 17);
    snprintf(other, sizeof other, "%.*g", needed, value);
    return strcmp(copy, other) == 0;
}

/* Whether DuckDB's reader would write the value as it is written: it writes numbers and escapes in its own way. */
static int is_as_written(const char *at, const char *end) {
    if (memchr(at, '\\', (size_t)(end - at)) != NULL) return 0;
    const char *first = at;
    for (; at < end; at++) { /* each number, in texts as well: fewer would do */
        if ((*at < '0' || *at > '9') || (at > first && ((at[-1] >= '0' && at[-1] <= '9') || at[-1] == '.'))) continue;
        int count = 0, point = 0;
        const char *number = at;
        for (; at < end && ((*at >= '0' && *at <= '9') || (*at == '.' && !point)); at++) {
            if (*at == '.') point = 1;
            else count++;
        }
        if (at < end && (*at == 'e' || *at == 'E')) return 0;
        if (count > 15 && !(point && count <= 17 && is_shortest(number, at))) return 0;
        if (number > first && number[-1] == '-' && number[0] == '0' && !point) return 0;
        if (point && ((at[-1] == '0' && at[-2] != '.') || (number[0] == '0' && end - number >= 5 && memcmp(number, "0.000", 5) == 0))) return 0;
        at--;
    }
    return 1;
}

/* Whether a text is none that DuckDB takes for a number. */
static int is_no_number(const char *at, const char *end) {
    if (at < end && strchr("iInN+- ", *at) != NULL) return 0;
    for (; at < end; at++)
        if (*at >= '0' && *at <= '9') return 0;
    return 1;
}

static int double_of(const char *at, const char *end, double *value) {
    static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *from = at;
    if (*at == 't' || *at == 'f') {
        *value = *at == 't';
        return 1;
    }
    if (*at != '-' && (*at < '0' || *at > '9')) return 0;
    int negative = *at == '-', count = 0, behind = 0, point = 0;
    int64_t mantissa = 0;
    for (at += negative; at < end; at++) {
        if (*at == '.') {
            point = 1;
            continue;
        }
        if (*at == 'e' || *at == 'E' || ++count > 15) goto slowly;
        mantissa = mantissa * 10 + *at - '0';
        behind += point;
    }
    if (negative && mantissa == 0 && !point) return 0;
    *value = (double)mantissa / TENS[behind]; /* both are exact, so this is rounded once */
    if (negative) *value = -*value;
    return 1;
slowly:;
    char copy[64];
    if (end - from >= (Py_ssize_t)sizeof copy) return 0;
    memcpy(copy, from, (size_t)(end - from));
    copy[end - from] = 0;
    char *stopped;
    errno = 0;
    *value = strtod(copy, &stopped);
    /* in another locale a point may not be one, and too large a number is none to DuckDB */
    return errno == 0 && *stopped == 0;
}

static int integer_of(const char *at, const char *end, int64_t *value) {
    int negative = *at == '-';
    const char *digit = at + negative;
    int64_t found = 0;
    for (; digit < end && *digit >= '0' && *digit <= '9' && digit - at <= MOST_DIGITS; digit++) found = found * 10 + *digit - '0';
    if (digit < end) { /* rounded to the even one, as DuckDB does */
        double real;
        if (!double_of(at, end, &real) || !(real > -1e18 && real < 1e18)) return 0;
        found = (int64_t)nearbyint(real);
        negative = 0;
    }
    *value = negative ? -found : found;
    return 1;
}

/* Take the value from `at` to `end`; 0 where DuckDB's reader has to say what it is, -1 where memory ends. */
static int put_value(Stream *stream, int column, const char *at, const char *end, int escaped) {
    Building *to = &stream->building[column];
    int64_t row = stream->rows;
    char kind = stream->question->column[column].kind;
    if (*at == 'n') return 1; /* null */
    switch (kind) {
    case 'T':
    case 'e':
        if (*at == '"') {
            at++, end--;
            if (escaped) {
                if (!grown(&stream->text, &stream->text_bytes, end - at)) return -1;
                int64_t length = unescaped(at, end, stream->text);
                if (!put_bytes(to, stream->text, length)) return -1;
            } else if (!put_bytes(to, at, end - at)) return -1;
        } else if (!is_as_written(at, end)) return 0;
        else if (!put_bytes(to, at, end - at)) return -1;
        break;
    case 'j':
        if (!put_bytes(to, at, end - at)) return -1;
        break;
    case 'i':
    case 'd':
    case 'b':
        if (*at == '{' || *at == '[' || (kind != 'b' && *at == '"' && is_no_number(at + 1, end - 1))) return 1; /* NULL */
        if (kind == 'b') {
            if (*at != 't' && *at != 'f') return 0;
            if (*at == 't') ((uint8_t *)to->data)[row >> 3] |= (uint8_t)(1 << (row & 7));
        } else if (kind == 'd') {
            if (!double_of(at, end, &((double *)to->data)[row])) return 0;
        } else if (!integer_of(at, end, &((int64_t *)to->data)[row])) return 0;
        break;
    case 'L':
        if (*at != '[') return 0;
        at++;
        while (*at != ']') {
            int has_escapes = 0;
            if (*at == ',') at++;
            if (*at != '"') return 0;
            const char *closing = text_end(at + 1, end, &has_escapes);
            if (closing == NULL || has_escapes) return 0;
            if (to->texts + 2 > to->texts_room) {
                int64_t room = to->texts_room * (int64_t)sizeof(int32_t);
                if (!grown((char **)&to->inner_offsets, &room, (to->texts + 2) * (int64_t)sizeof(int32_t))) return -1;
                to->texts_room = room / (int64_t)sizeof(int32_t);
            }
            if (!put_bytes(to, at + 1, closing - at - 1)) return -1;
            to->inner_offsets[++to->texts] = (int32_t)to->used;
            at = closing + 1;
        }
        break;
    default:
        return 0;
    }
    set_valid(to, row);
    return 1;
}

static unsigned slot_of(const char *key, int64_t length) {
    return ((unsigned)length * 7 + (unsigned char)key[0] + 31u * (unsigned char)key[length - 1]) % SLOTS;
}

static int is_error_level(const Stream *stream) {
    return (stream->level_len == 5 && memcmp(stream->level, "ERROR", 5) == 0) ||
           (stream->level_len == 8 && memcmp(stream->level, "CRITICAL", 8) == 0);
}

/* Whether the line is asked for, as far as it has been read. */
static int is_asked(const Stream *stream) {
    const Question *question = stream->question;
    if (!question->is_filtered || (question->with_errors && (stream->level == NULL || is_error_level(stream)))) return 1;
    const char *kind = stream->kind == NULL ? "log" : stream->kind;
    int length = stream->kind == NULL ? 3 : stream->kind_len;
    for (int at = 0; at < question->kinds; at++)
        if (question->kind_len[at] == length && memcmp(question->kind[at], kind, (size_t)length) == 0) return 1;
    return 0;
}

static int is_kind_key(const char *key, int64_t length, int is_payload) {
    return is_payload ? length == 10 && memcmp(key, "event_type", 10) == 0 : length == 4 && memcmp(key, "type", 4) == 0;
}

/* One object: each of its values is taken by the columns that ask for its key. -1, 0 and 1 as above. */
static int read_members(Stream *stream, const char **place, const char *end, int is_payload, int *has_kind, int *has_payload) {
    Question *question = stream->question;
    const int16_t *slots = is_payload ? question->inner_slot : question->outer_slot;
    const int16_t *next = is_payload ? question->inner_next : question->outer_next;
    const char *at = *place;
    for (;;) {
        int escaped = 0;
        if (at >= end || *at != '"') return 0;
        const char *key = at + 1;
        if ((at = text_end(key, end, &escaped)) == NULL || escaped) return 0;
        int64_t length = at - key;
        if (end - at < 3 || at[1] != ':') return 0;
        const char *value = at + 2;
        escaped = 0;
        if (!is_payload && length == 5 && memcmp(key, "extra", 5) == 0) {
            if (*has_payload) return 0;
            if (*value == '{') {
                *has_payload = 1;
                at = value + 1;
                if (*at == '}') at++;
                else {
                    int done = read_members(stream, &at, end, 1, has_kind, has_payload);
                    if (done != READ) return done;
                }
            } else if (*value != 'n' || (at = literal_end(value, end)) == NULL) return 0;
        } else if (*value == '"') {
            if ((at = text_end(value + 1, end, &escaped)) == NULL) return 0;
            at++;
            if (is_kind_key(key, length, is_payload)) {
                if (escaped) return NOT_READ;
                if (!is_payload || !*has_kind) {
                    stream->kind = value + 1;
                    stream->kind_len = (int)(at - value - 2);
                }
                *has_kind |= !is_payload;
                if (!is_asked(stream)) return NOT_ASKED;
            } else if (!is_payload && length == 5 && memcmp(key, "level", 5) == 0) {
                stream->level = value + 1;
                stream->level_len = (int)(at - value - 2);
            }
        } else {
            if ((at = value_end(value, end)) == NULL) return NOT_READ;
            if (*value != 'n' && is_kind_key(key, length, is_payload)) return NOT_READ;
        }
        if (length)
            for (int column = slots[slot_of(key, length)]; column >= 0; column = next[column]) {
                const Column *asked = &question->column[column];
                const char *wanted = is_payload ? asked->inner : asked->outer;
                if (length != (is_payload ? asked->inner_len : asked->outer_len) || memcmp(key, wanted, (size_t)length) != 0)
                    continue;
                /* twice the same key, or in the payload and beside it: which of them counts is not said here */
                if (stream->building[column].is_set) return 0;
                int put = put_value(stream, column, value, at, escaped);
                if (put != 1) return put;
            }
        if (at >= end) return 0;
        if (*at == '}') {
            *place = at + 1;
            return 1;
        }
        if (*at != ',') return 0;
        at++;
    }
}

static int end_row(Stream *stream, const Head *head, const char *path) {
    int64_t row = stream->rows;
    for (int at = 0; at < stream->question->columns; at++) {
        Building *to = &stream->building[at];
        char kind = stream->question->column[at].kind;
        int fine = 1, valid = 1;
        switch (kind) {
        case 'u': ((int64_t *)to->data)[row] = head->us; break;
        case 'n': ((int64_t *)to->data)[row] = head->seq; break;
        case 'v': ((int64_t *)to->data)[row] = head->version; break;
        case 'w': fine = put_bytes(to, head->id, 8); break;
        case '#': fine = put_bytes(to, head->id, head->id_len); break;
        case 't': fine = put_bytes(to, head->time, 27); break;
        case 'f': fine = put_bytes(to, path, (int64_t)strlen(path)); break;
        case 'e':
            if (!to->is_set) fine = put_bytes(to, "log", 3);
            break;
        default: valid = 0;
        }
        if (!fine) return -1;
        if (valid) set_valid(to, row);
        if (!to->is_set) to->nulls++;
        if (to->offsets != NULL) to->offsets[row + 1] = (int32_t)(kind == 'L' ? to->texts : to->used);
        to->is_set = 0;
    }
    stream->rows++;
    return 1;
}

/* Take back what was put of a row. */
static void drop_row(Stream *stream) {
    for (int at = 0; at < stream->question->columns; at++) {
        Building *to = &stream->building[at];
        int64_t row = stream->rows;
        if (!to->is_set) continue;
        to->is_set = 0;
        to->valid[row >> 3] &= (uint8_t)~(1 << (row & 7));
        if (to->inner_offsets != NULL) to->used = to->inner_offsets[to->texts = to->offsets[row]];
        else if (to->offsets != NULL) to->used = to->offsets[row];
        else if (stream->question->column[at].kind == 'b') to->data[row >> 3] &= (char)~(1 << (row & 7));
    }
}

static int note_line(Stream *stream, int64_t length, const Head *head);

static int read_line(Stream *stream, const char *line, const char *end, const char *path) {
    const Question *question = stream->question;
    Head head;
    int has_kind = 0, has_payload = 0;
    if (!read_head(line, end, question->files->newest_schema, &head)) return NOT_READ;
    if (head.us < question->since_us || head.us > question->until_us) return NOT_ASKED;
    const char *at = head.rest;
    stream->kind = stream->level = NULL;
    stream->kind_len = stream->level_len = 0;
    int done = read_members(stream, &at, end, 0, &has_kind, &has_payload);
    if (done == READ && (at != end || (!has_kind && !has_payload))) done = NOT_READ;
    if (done == READ && !is_asked(stream)) done = NOT_ASKED;
    if (done == READ && stream->makes_index && !note_line(stream, end + 1 - line, &head)) done = FAILED;
    if (done == READ) return end_row(stream, &head, path);
    drop_row(stream);
    return done;
}

/* ---- the index ---- */

static int kind_number(Files *files, const char *kind, int length) {
    for (int at = 0; at < files->kinds; at++)
        if (files->kind_len[at] == length && memcmp(files->kind[at], kind, (size_t)length) == 0) return at;
    if (files->kinds == MOST_KINDS || (files->kind[files->kinds] = malloc((size_t)length + 1)) == NULL) return -1;
    memcpy(files->kind[files->kinds], kind, (size_t)length);
    files->kind_len[files->kinds] = length;
    return files->kinds++;
}

/* The number of an event is marked; where one comes twice, or is a very large one, others have to count. */
static int note_number(Files *files, const Head *head) {
    Writer *writer = files->writer;
    int at = 0;
    while (at < files->writers && memcmp(writer[at].name, head->id, 8) != 0) at++;
    if (at == files->writers) {
        if ((writer = realloc(writer, ((size_t)at + 1) * sizeof *writer)) == NULL) return 0;
        files->writer = writer;
        memset(&writer[files->writers++], 0, sizeof *writer);
        memcpy(writer[at].name, head->id, 8);
    }
    writer += at;
    if (head->seq >= NO_NUMBER) {
        files->is_double = 1;
        return 1;
    }
    if (head->seq >> 3 >= writer->bytes) {
        int64_t before = writer->bytes;
        if (!grown((char **)&writer->bits, &writer->bytes, (head->seq >> 3) + 1)) return 0;
        memset(writer->bits + before, 0, (size_t)(writer->bytes - before));
    }
    uint8_t bit = (uint8_t)(1 << (head->seq & 7));
    if (writer->bits[head->seq >> 3] & bit) files->is_double = 1;
    writer->bits[head->seq >> 3] |= bit;
    return 1;
}

static int note_line(Stream *stream, int64_t length, const Head *head) {
    Files *files = stream->question->files;
    File *file = &files->file[stream->at_file];
    if (file->lines == file->room) {
        int64_t room = file->room ? 2 * file->room : 256;
        uint32_t *lengths = realloc(file->length, (size_t)room * sizeof *lengths);
        if (lengths != NULL) file->length = lengths;
        uint16_t *whats = realloc(file->what, (size_t)room * sizeof *whats);
        if (whats != NULL) file->what = whats;
        int64_t *ends = realloc(file->ends_us, (size_t)room / BLOCK_LINES * 2 * sizeof *ends);
        if (ends != NULL) file->ends_us = ends;
        if (lengths == NULL || whats == NULL || ends == NULL) return 0;
        file->room = room;
    }
    int64_t *ends_us = file->ends_us + file->lines / BLOCK_LINES * 2;
    if (file->lines % BLOCK_LINES == 0) ends_us[0] = ends_us[1] = head->us;
    if (head->us < ends_us[0]) ends_us[0] = head->us;
    if (head->us > ends_us[1]) ends_us[1] = head->us;
    int kind = stream->kind == NULL ? kind_number(files, "log", 3) : kind_number(files, stream->kind, stream->kind_len);
    if (kind < 0) stream->makes_index = 0; /* too many kinds: without an index, then */
    if (head->us < files->first_us) files->first_us = head->us;
    if (head->us > files->last_us) files->last_us = head->us;
    file->length[file->lines] = (uint32_t)length;
    file->what[file->lines++] = (uint16_t)(kind | (is_error_level(stream) ? ERROR_BIT : 0));
    return note_number(files, head);
}

/* ---- the stream ---- */

static int width_of(char kind) { return kind == 'b' ? 1 : 64; }

static void free_building(Stream *stream) {
    if (stream->building == NULL) return;
    for (int at = 0; at < stream->question->columns; at++) {
        Building *each = &stream->building[at];
        free(each->valid);
        free(each->data);
        free(each->offsets);
        free(each->inner_offsets);
    }
    free(stream->building);
    stream->building = NULL;
}

static int begin_batch(Stream *stream) {
    int columns = stream->question->columns;
    stream->rows = stream->line_bytes = 0;
    if ((stream->building = calloc((size_t)columns, sizeof(Building))) == NULL) return 0;
    for (int at = 0; at < columns; at++) {
        Building *each = &stream->building[at];
        char kind = stream->question->column[at].kind;
        if ((each->valid = calloc(BATCH_ROWS / 8, 1)) == NULL) return 0;
        if (is_text(kind) || kind == 'L') {
            if ((each->offsets = malloc((BATCH_ROWS + 1) * sizeof(int32_t))) == NULL) return 0;
            each->offsets[0] = 0;
        } else if ((each->data = calloc((size_t)BATCH_ROWS * (size_t)width_of(kind) / 8, 1)) == NULL) return 0;
        if (kind == 'L') {
            if ((each->inner_offsets = malloc(64 * sizeof(int32_t))) == NULL) return 0;
            each->inner_offsets[0] = 0;
            each->texts_room = 64;
        }
    }
    return 1;
}

static void close_file(Stream *stream) {
    if (stream->fd >= 0) close(stream->fd);
    stream->fd = -1;
    stream->at_file++;
}

/* Opens the file that is next. Where another has its name by now, that one is read, as DuckDB would. */
static int open_next(Stream *stream) {
    const File *file = &stream->question->files->file[stream->at_file];
    struct stat status;
    stream->offset = stream->held = stream->line_at = 0;
    do stream->fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    while (stream->fd < 0 && errno == EINTR);
    if (stream->fd < 0 || fstat(stream->fd, &status) < 0 || !S_ISREG(status.st_mode)) return 0;
    int is_listed = (uint64_t)status.st_ino == file->inode && status.st_size > file->size;
    stream->size = is_listed ? file->size : status.st_size;
    return 1;
}

/* What has been noted is of a part of the lines only. */
static void forget_index(Stream *stream) {
    Files *files = stream->question->files;
    for (int at = 0; at < files->files; at++) files->file[at].lines = 0;
    for (int at = 0; at < files->writers; at++) free(files->writer[at].bits);
    files->writers = files->is_double = stream->makes_index = 0;
    files->first_us = INT64_MAX;
    files->last_us = INT64_MIN;
    atomic_store(&files->is_claimed, 0);
}

static void leave_file(Stream *stream, int mark) {
    if (mark != FINE) {
        atomic_store(&stream->question->marks[stream->at_file], (unsigned char)mark);
        if (stream->makes_index) forget_index(stream);
    }
    close_file(stream);
    stream->at_line = 0;
    if (stream->makes_index && stream->at_file == stream->question->files->files) atomic_store(&stream->question->files->is_indexed, 1);
}

/* Read on behind what the buffer holds, at most to `most`; FINE, or the mark of a file that has to be left. */
static int read_on(Stream *stream, int64_t most) {
    stream->held -= stream->line_at;
    memmove(stream->buffer, stream->buffer + stream->line_at, (size_t)stream->held);
    stream->line_at = 0;
    if (stream->held == stream->buffer_bytes &&
        (stream->buffer_bytes > stream->question->files->max_line || !grown(&stream->buffer, &stream->buffer_bytes, 2 * stream->held)))
        return ODD;
    int64_t wanted = stream->buffer_bytes - stream->held;
    if (wanted > most - stream->offset) wanted = most - stream->offset;
    ssize_t got;
    do got = pread(stream->fd, stream->buffer + stream->held, (size_t)wanted, stream->offset);
    while (got < 0 && errno == EINTR);
    if (got < 0) return GONE;
    if (got == 0) stream->size = stream->offset; /* it became shorter */
    stream->held += got;
    stream->offset += got;
    return FINE;
}

/* To the next line that is asked for, of a file whose lines are known; 0 if there is none. */
static int go_to_asked(Stream *stream, const uint8_t *asked) {
    const Files *files = stream->question->files;
    const File *file = &files->file[stream->at_file];
    int64_t passed = 0;
    while (stream->at_line < file->lines) {
        const int64_t *ends_us = file->ends_us + stream->at_line / BLOCK_LINES * 2;
        if (ends_us[1] < stream->question->since_us || ends_us[0] > stream->question->until_us) {
            do passed += file->length[stream->at_line++];
            while (stream->at_line < file->lines && stream->at_line % BLOCK_LINES);
            continue;
        }
        uint16_t what = file->what[stream->at_line];
        if (asked[what & 0xFF] || (stream->question->with_errors && (what & ERROR_BIT))) break;
        passed += file->length[stream->at_line++];
    }
    if (stream->at_line == file->lines) return 0;
    if (stream->line_at + passed <= stream->held) stream->line_at += passed;
    else {
        stream->offset += passed - (stream->held - stream->line_at);
        stream->held = stream->line_at = 0;
    }
    return 1;
}

/* Fill the batch; 0 where memory ends. */
static int fill_batch(Stream *stream) {
    Question *question = stream->question;
    Files *files = question->files;
    int is_bounded = question->since_us != INT64_MIN || question->until_us != INT64_MAX;
    int is_indexed = (question->is_filtered || is_bounded) && atomic_load(&files->is_indexed);
    uint8_t asked[MOST_KINDS + 6];
    memset(asked, !question->is_filtered, sizeof asked);
    for (int at = 0; is_indexed && at < files->kinds; at++)
        for (int kind = 0; kind < question->kinds; kind++)
            asked[at] |= question->kind_len[kind] == files->kind_len[at] &&
                         memcmp(question->kind[kind], files->kind[at], (size_t)files->kind_len[at]) == 0;
    if (stream->buffer == NULL && !grown(&stream->buffer, &stream->buffer_bytes, is_indexed ? WINDOW_BYTES : BUFFER_BYTES)) return 0;
    while (stream->at_file < files->files && stream->rows < BATCH_ROWS && stream->line_bytes < BATCH_BYTES) {
        const File *file = &files->file[stream->at_file];
        if (atomic_load(&question->marks[stream->at_file]) != FINE) { /* seen by another stream */
            leave_file(stream, atomic_load(&question->marks[stream->at_file]));
            continue;
        }
        if (stream->fd < 0 && !open_next(stream)) {
            leave_file(stream, GONE);
            continue;
        }
        if (is_indexed && !go_to_asked(stream, asked)) {
            leave_file(stream, FINE);
            continue;
        }
        const char *line = stream->buffer + stream->line_at;
        const char *end = memchr(line, '\n', (size_t)(stream->held - stream->line_at));
        if (end == NULL) {
            int mark = stream->offset < stream->size ? read_on(stream, stream->size)
                       : stream->line_at == stream->held ? FINE
                                                         : ODD; /* a last line without its end */
            if (mark != FINE || (stream->offset >= stream->size && stream->line_at == stream->held)) leave_file(stream, mark);
            continue;
        }
        int taken = read_line(stream, line, end, file->path);
        if (taken == FAILED) return 0;
        if (taken == NOT_READ) { /* the whole answer is left out then */
            leave_file(stream, ODD);
            continue;
        }
        stream->line_at = end + 1 - stream->buffer;
        stream->at_line++;
        stream->line_bytes += taken == READ ? end + 1 - line : 0;
    }
    return 1;
}

static void release_array(struct ArrowArray *array) {
    for (int64_t at = 0; at < array->n_children; at++) {
        if (array->children[at]->release != NULL) array->children[at]->release(array->children[at]);
        free(array->children[at]);
    }
    for (int64_t at = 0; at < array->n_buffers; at++) free((void *)array->buffers[at]);
    free(array->children);
    free(array->buffers);
    array->release = NULL;
}

static int make_array(struct ArrowArray *array, int64_t length, int64_t buffers, int64_t children) {
    memset(array, 0, sizeof *array);
    array->length = length;
    array->n_buffers = buffers;
    array->buffers = calloc((size_t)buffers, sizeof(void *));
    array->children = calloc((size_t)(children ? children : 1), sizeof(void *));
    array->release = release_array;
    if (array->buffers == NULL || array->children == NULL) array->n_buffers = 0;
    while (array->n_buffers == buffers && array->n_children < children) {
        struct ArrowArray *child = calloc(1, sizeof *child);
        if (child == NULL) break;
        array->children[array->n_children++] = child;
    }
    if (array->n_buffers == buffers && array->n_children == children) return 1;
    release_array(array);
    return 0;
}

/* The column as an array of its own; what it holds goes over to it. */
static int hand_over(struct ArrowArray *array, Building *from, char kind, int64_t rows) {
    int has_offsets = is_text(kind);
    if (!make_array(array, rows, kind == 'L' ? 2 : has_offsets ? 3 : 2, kind == 'L')) return 0;
    array->null_count = from->nulls;
    array->buffers[0] = from->valid;
    from->valid = NULL;
    if (kind == 'L') {
        array->buffers[1] = from->offsets;
        from->offsets = NULL;
        if (!make_array(array->children[0], from->texts, 3, 0)) return 0;
        array->children[0]->buffers[1] = from->inner_offsets;
        array->children[0]->buffers[2] = from->data;
        from->inner_offsets = NULL;
    } else if (has_offsets) {
        array->buffers[1] = from->offsets;
        array->buffers[2] = from->data;
        from->offsets = NULL;
    } else array->buffers[1] = from->data;
    from->data = NULL;
    return 1;
}

static int get_next(struct ArrowArrayStream *self, struct ArrowArray *array) {
    Stream *stream = self->private_data;
    int columns = stream->question->columns;
    memset(array, 0, sizeof *array);
    if (stream->at_file >= stream->question->files->files) return 0; /* a released array: the end */
    Question *question = stream->question;
    if (stream->at_file == 0 && stream->fd < 0 && !question->is_filtered && question->since_us == INT64_MIN &&
        question->until_us == INT64_MAX && !atomic_load(&question->files->is_indexed) && atomic_exchange(&question->files->is_claimed, 1) == 0)
        stream->makes_index = 1;
    int is_filled = begin_batch(stream) && fill_batch(stream);
    if (is_filled && stream->rows == 0) {
        free_building(stream);
        return 0;
    }
    if (is_filled && make_array(array, stream->rows, 1, columns)) {
        int at = 0;
        while (at < columns && hand_over(array->children[at], &stream->building[at], stream->question->column[at].kind, stream->rows)) at++;
        free_building(stream);
        if (at == columns) return 0;
        release_array(array);
    }
    free_building(stream);
    stream->error = "no memory for the lines";
    return ENOMEM;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t at = 0; at < schema->n_children; at++) {
        if (schema->children[at] == NULL) continue;
        if (schema->children[at]->release != NULL) schema->children[at]->release(schema->children[at]);
        free(schema->children[at]);
    }
    free(schema->children);
    free(schema->private_data);
    schema->release = NULL;
}

/* The metadata that says that a text is JSON: each number of four bytes, as the machine writes them. */
static const char *of_json(void) {
    static struct {
        int32_t pairs, key_len;
        char key[20];
        int32_t value_len;
        char value[12];
    } JSON = {1, 20, "ARROW:extension:name", 10, "arrow.json"};
    return (const char *)&JSON;
}

static int make_schema(struct ArrowSchema *schema, const char *format, const char *name, int64_t children) {
    memset(schema, 0, sizeof *schema);
    schema->format = format;
    schema->flags = 2; /* there may be nulls */
    schema->private_data = malloc(strlen(name) + 1);
    schema->children = calloc((size_t)(children ? children : 1), sizeof(void *));
    schema->release = release_schema;
    if (schema->private_data != NULL && schema->children != NULL) {
        schema->name = strcpy(schema->private_data, name);
        while (schema->n_children < children) {
            if ((schema->children[schema->n_children] = calloc(1, sizeof *schema)) == NULL) break;
            schema->n_children++;
        }
        if (schema->n_children == children) return 1;
    }
    release_schema(schema);
    return 0;
}

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *schema) {
    Stream *stream = self->private_data;
    if (!make_schema(schema, "+s", "", stream->question->columns)) return ENOMEM;
    for (int at = 0; at < stream->question->columns; at++) {
        const Column *column = &stream->question->column[at];
        struct ArrowSchema *child = schema->children[at];
        char kind = column->kind;
        const char *format = is_text(kind) ? "u" : kind == 'L' ? "+l" : kind == 'b' ? "b" : kind == 'd' ? "g" : "l";
        if (!make_schema(child, format, column->name, kind == 'L') ||
            (kind == 'L' && !make_schema(child->children[0], "u", "item", 0))) {
            release_schema(schema);
            return ENOMEM;
        }
        if (kind == 'j') child->metadata = of_json();
    }
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *self) { return ((Stream *)self->private_data)->error; }

static void release_stream(struct ArrowArrayStream *self) {
    Stream *stream = self->private_data;
    if (stream->fd >= 0) close(stream->fd);
    if (stream->makes_index && !atomic_load(&stream->question->files->is_indexed)) forget_index(stream);
    free_building(stream);
    free(stream->buffer);
    free(stream->text);
    drop_question(stream->question);
    free(stream);
    self->release = NULL;
}

static void free_capsule(PyObject *capsule) {
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (stream == NULL) return;
    if (stream->release != NULL) stream->release(stream); /* nobody took it */
    free(stream);
}

/* ---- the objects ---- */

typedef struct {
    PyObject_HEAD
    Files *files;
} FilesObject;

typedef struct {
    PyObject_HEAD
    Question *question;
} LinesObject;

static PyTypeObject *type_of_lines;

static char *copied(PyObject *given, int *length) {
    Py_ssize_t size = 0;
    const char *text = given == Py_None ? NULL : PyUnicode_AsUTF8AndSize(given, &size);
    if (text == NULL) return NULL;
    char *copy = malloc((size_t)size + 1);
    if (copy == NULL) PyErr_NoMemory();
    else memcpy(copy, text, (size_t)size + 1);
    *length = (int)size;
    return copy;
}

static int take_columns(Question *question, PyObject *columns) {
    Py_ssize_t count = PyTuple_GET_SIZE(columns);
    if (count < 1 || count > MOST_COLUMNS) {
        PyErr_SetString(PyExc_ValueError, "there are 1 to 256 columns");
        return 0;
    }
    if ((question->column = calloc((size_t)count, sizeof(Column))) == NULL) return PyErr_NoMemory() != NULL;
    memset(question->inner_slot, -1, sizeof question->inner_slot);
    memset(question->outer_slot, -1, sizeof question->outer_slot);
    for (int at = 0; at < (int)count; at++) {
        Column *column = &question->column[question->columns++];
        PyObject *name, *inner, *outer;
        const char *kind;
        int ignored;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(columns, at), "UsOO", &name, &kind, &inner, &outer)) return 0;
        column->kind = kind[0];
        column->name = copied(name, &ignored);
        column->inner = copied(inner, &column->inner_len);
        column->outer = copied(outer, &column->outer_len);
        if (PyErr_Occurred()) return 0;
        if (column->kind == 0 || strchr("TjidbLuwnefvt#", column->kind) == NULL) {
            PyErr_Format(PyExc_ValueError, "there is no kind of column %s", kind);
            return 0;
        }
        if (column->inner_len) {
            unsigned slot = slot_of(column->inner, column->inner_len);
            question->inner_next[at] = question->inner_slot[slot];
            question->inner_slot[slot] = (int16_t)at;
        }
        if (column->outer_len) {
            unsigned slot = slot_of(column->outer, column->outer_len);
            question->outer_next[at] = question->outer_slot[slot];
            question->outer_slot[slot] = (int16_t)at;
        }
    }
    return 1;
}

static int take_kinds(Question *question, PyObject *kinds) {
    if (kinds == Py_None) return 1;
    question->is_filtered = 1;
    Py_ssize_t count = PyTuple_GET_SIZE(kinds);
    question->kind = calloc((size_t)count + 1, sizeof(char *));
    question->kind_len = calloc((size_t)count + 1, sizeof(int));
    if (question->kind == NULL || question->kind_len == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t at = 0; at < count; at++) {
        char *kind = copied(PyTuple_GET_ITEM(kinds, at), &question->kind_len[at]);
        if (kind == NULL) return 0;
        question->kind[question->kinds++] = kind;
    }
    return 1;
}

static int take_files(Files *files, PyObject *given) {
    Py_ssize_t count = PyTuple_GET_SIZE(given);
    if ((files->file = calloc((size_t)count + 1, sizeof(File))) == NULL) return PyErr_NoMemory() != NULL;
    for (int at = 0; at < (int)count; at++) {
        File *file = &files->file[files->files++];
        PyObject *path;
        unsigned long long inode;
        long long size, mtime_ns;
        int ignored;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(given, at), "UKLL", &path, &inode, &size, &mtime_ns)) return 0;
        file->inode = inode;
        file->size = size;
        if ((file->path = copied(path, &ignored)) == NULL) return 0;
    }
    return 1;
}

static PyObject *new_files(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    PyObject *given;
    int newest_schema, max_line;
    if (!PyArg_ParseTuple(arguments, "O!ii", &PyTuple_Type, &given, &newest_schema, &max_line)) return NULL;
    if (newest_schema < 1 || newest_schema > 9) {
        PyErr_SetString(PyExc_ValueError, "a version of one digit is known");
        return NULL;
    }
    Files *files = calloc(1, sizeof *files);
    if (files == NULL) return PyErr_NoMemory();
    atomic_init(&files->references, 1);
    files->newest_schema = newest_schema;
    files->max_line = max_line;
    files->first_us = INT64_MAX;
    files->last_us = INT64_MIN;
    FilesObject *self = take_files(files, given) ? (FilesObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) drop_files(files);
    else self->files = files;
    return (PyObject *)self;
}

static void free_files(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    drop_files(((FilesObject *)self)->files);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *lines_of(PyObject *self, PyObject *arguments) {
    Files *files = ((FilesObject *)self)->files;
    PyObject *columns, *kinds;
    int with_errors;
    long long since_us, until_us;
    if (!PyArg_ParseTuple(arguments, "O!OpLL", &PyTuple_Type, &columns, &kinds, &with_errors, &since_us, &until_us)) return NULL;
    if (kinds != Py_None && !PyTuple_Check(kinds)) {
        PyErr_SetString(PyExc_TypeError, "the kinds are a tuple, or None");
        return NULL;
    }
    Question *question = calloc(1, sizeof *question);
    if (question == NULL) return PyErr_NoMemory();
    atomic_init(&question->references, 1);
    atomic_fetch_add(&files->references, 1);
    question->files = files;
    question->with_errors = with_errors;
    question->since_us = since_us;
    question->until_us = until_us;
    LinesObject *made = NULL;
    if ((question->marks = calloc((size_t)files->files + 1, 1)) == NULL) PyErr_NoMemory();
    else if (take_columns(question, columns) && take_kinds(question, kinds))
        made = (LinesObject *)type_of_lines->tp_alloc(type_of_lines, 0);
    if (made == NULL) drop_question(question);
    else made->question = question;
    return (PyObject *)made;
}

static void free_lines(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    drop_question(((LinesObject *)self)->question);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *arrow_c_stream(PyObject *self, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named)) {
    Question *question = ((LinesObject *)self)->question;
    struct ArrowArrayStream *made = calloc(1, sizeof *made);
    Stream *stream = calloc(1, sizeof *stream);
    if (made == NULL || stream == NULL) {
        free(made);
        free(stream);
        return PyErr_NoMemory();
    }
    atomic_fetch_add(&question->references, 1);
    *stream = (Stream){.question = question, .fd = -1, .error = ""};
    *made = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release_stream, stream};
    PyObject *capsule = PyCapsule_New(made, "arrow_array_stream", free_capsule);
    if (capsule == NULL) {
        release_stream(made);
        free(made);
    }
    return capsule;
}

/* Every line once, for the marks and the index alone. */
static PyObject *look(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *capsule = arrow_c_stream(self, NULL, NULL);
    if (capsule == NULL) return NULL;
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    struct ArrowArray array;
    int failed, is_over = 0;
    Py_BEGIN_ALLOW_THREADS
    while (!is_over && (failed = get_next(stream, &array)) == 0) {
        is_over = array.release == NULL;
        if (!is_over) array.release(&array);
    }
    Py_END_ALLOW_THREADS
    Py_DECREF(capsule);
    if (!is_over) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *marks(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Question *question = ((LinesObject *)self)->question;
    PyObject *made = PyBytes_FromStringAndSize(NULL, question->files->files);
    if (made != NULL)
        for (int at = 0; at < question->files->files; at++) PyBytes_AS_STRING(made)[at] = (char)atomic_load(&question->marks[at]);
    return made;
}

static PyObject *ends_us(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Files *files = ((FilesObject *)self)->files;
    if (!atomic_load(&files->is_indexed)) Py_RETURN_NONE;
    return Py_BuildValue("LL", (long long)files->first_us, (long long)files->last_us);
}

static PyObject *numbers(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Files *files = ((FilesObject *)self)->files;
    if (!atomic_load(&files->is_indexed) || files->is_double) Py_RETURN_NONE;
    PyObject *made = PyDict_New();
    for (int at = 0; made != NULL && at < files->writers; at++) {
        const Writer *writer = &files->writer[at];
        PyObject *bits = PyBytes_FromStringAndSize((const char *)writer->bits, (Py_ssize_t)writer->bytes);
        if (bits == NULL || PyDict_SetItemString(made, writer->name, bits) < 0) Py_CLEAR(made);
        Py_XDECREF(bits);
    }
    return made;
}

static PyMethodDef methods_of_files[] = {
    {"lines", lines_of, METH_VARARGS,
     "lines(columns, kinds, with_errors, since_us, until_us): columns are (name, kind, key in the payload, key beside it); "
     "of events of these kinds (None: all) and, with errors, of an error's level, in that time."},
    {"ends_us", ends_us, METH_NOARGS, "After a pass over all lines, the times of the first and the last; else None."},
    {"numbers", numbers, METH_NOARGS,
     "After a pass over all lines, the bytes of each writer in which the bit of each of its numbers is set; else None, and "
     "where a number comes twice."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef methods_of_lines[] = {
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))arrow_c_stream, METH_VARARGS | METH_KEYWORDS,
     "A new stream over the lines, as the Arrow PyCapsule interface has it."},
    {"look", look, METH_NOARGS, "Look at every line, for the marks and the index alone."},
    {"marks", marks, METH_NOARGS, "A byte for each file: 0, or 1 where a line is odd, or 2 where it cannot be read."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots_of_files[] = {
    {Py_tp_new, new_files},
    {Py_tp_dealloc, free_files},
    {Py_tp_methods, methods_of_files},
    {Py_tp_doc, "Files(files, newest_schema, longest_line): files are (path, inode, size, mtime_ns)."},
    {0, NULL},
};

static PyType_Slot slots_of_lines[] = {
    {Py_tp_dealloc, free_lines},
    {Py_tp_methods, methods_of_lines},
    {Py_tp_doc, "What was asked of some files with `Files.lines`."},
    {0, NULL},
};

static PyType_Spec spec_of_files = {"Agent.analysis.query._columns.Files", sizeof(FilesObject), 0, Py_TPFLAGS_DEFAULT, slots_of_files};
static PyType_Spec spec_of_lines = {"Agent.analysis.query._columns.Lines", sizeof(LinesObject), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots_of_lines};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_columns", .m_size = -1};

PyMODINIT_FUNC PyInit__columns(void) {
    PyObject *made = PyModule_Create(&module);
    if (made == NULL) return NULL;
    PyObject *files = PyType_FromSpec(&spec_of_files);
    if (type_of_lines == NULL) type_of_lines = (PyTypeObject *)PyType_FromSpec(&spec_of_lines);
    if (files == NULL || type_of_lines == NULL || PyModule_AddObject(made, "Files", files) < 0) {
        Py_XDECREF(files);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}

/* The request for lines, the rows that are built from them, and the index from the first pass. */

enum {
    BUFFER_BYTES = 1 << 20,
    BATCH_ROWS = 8192,
    BATCH_BYTES = 4 << 20, /* of lines, so that a batch of long lines has fewer rows */
    MOST_COLUMNS = 256,
    MOST_KINDS = 250,
    LEVEL_SHIFT = 8,
    ERROR_BIT = 1 << LEVEL_SHIFT,
    WARNING_BIT = 2 << LEVEL_SHIFT,
    NO_NUMBER = 1 << 28, /* larger event numbers are not counted here */
    WINDOW_BYTES = 1 << 16,
    BLOCK_LINES = 64,
    SLOTS = 64
};
enum { FINE = 0, ODD = 1, GONE = 2 };
enum { SPAN_NONE = 0, SPAN_UNCLEAR = 1, SPAN_MARKS = 2 }; /* unclear: escaped, or not a text */
enum { FAILED = -1, NOT_READ = 0, READ = 1, NOT_ASKED = 2 }; /* the result of reading a line */

typedef struct {
    char kind;
    char *name, *inner, *outer; /* the keys in the payload and next to it; NULL if not read from there */
    int inner_len, outer_len;
} Column;

/* The first and last time, and the lowest and highest event number, in a block of lines. */
typedef struct {
    int64_t first_us, last_us, low, high;
} Ends;

/* The lines of a file: their lengths, and for each line a byte for the kind and a bit for the level. */
typedef struct {
    char *path;
    uint64_t inode;
    int64_t size;
    int64_t lines, room;
    uint32_t *length;
    uint16_t *spans; /* for each line, the marks of its span and of the parent span */
    uint16_t *what;
    Ends *ends; /* for each block of lines */
} File;

typedef struct {
    char name[9];
    int64_t bytes;
    uint8_t *bits; /* one bit for each event number */
} Writer;

/* The files of a session, shared by all requests. The first pass over all lines leaves an index. */
typedef struct {
    atomic_int references;
    int newest_schema, files, max_line;
    File *file;
    atomic_int is_indexed, is_claimed; /* whether the index is complete; whether a stream builds it */
    int kinds, writers, is_double;
    char *kind[MOST_KINDS];
    int kind_len[MOST_KINDS];
    Writer *writer;
    int64_t first_us, last_us;
} Files;

/* The id of an event; an empty slot has the number -1. */
typedef struct {
    uint64_t writer;
    int64_t seq;
} Place;

/* The requested columns and lines, shared by the `Lines` object and its streams. */
typedef struct {
    atomic_int references;
    Files *files;
    int columns;
    Column *column;
    atomic_uchar *marks;
    char **kind; /* only events of these kinds or of `levels`; NULL for all */
    int *kind_len;
    int kinds, levels, is_filtered; /* levels: the bits of the levels requested in addition to the kinds */
    int64_t since_us, until_us;
    Place *place; /* only these events, hashed; NULL for all */
    uint64_t slots; /* a power of two */
    int64_t *number; /* their numbers, sorted */
    int64_t numbers;
    uint16_t *span; /* with an index, also the events of these spans and inside them; sorted */
    int64_t spans;
    int16_t inner_slot[SLOTS], outer_slot[SLOTS], inner_next[MOST_COLUMNS], outer_next[MOST_COLUMNS];
} Question;

static void drop_files(Files *files) {
    if (atomic_fetch_sub(&files->references, 1) != 1) return;
    for (int at = 0; at < files->files; at++) {
        free(files->file[at].path);
        free(files->file[at].length);
        free(files->file[at].spans);
        free(files->file[at].what);
        free(files->file[at].ends);
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
    free(question->place);
    free(question->number);
    free(question->span);
    free(question->column);
    free(question->marks);
    drop_files(question->files);
    free(question);
}

/* One column of the current batch. */
typedef struct {
    uint8_t *valid;
    char *data;     /* the bytes of texts; else the values */
    int32_t *offsets, *inner_offsets; /* for texts and lists; for the texts in a list */
    int64_t used, room, nulls, texts, texts_room;
    int is_set;
} Building;

typedef struct {
    Question *question;
    int at_file, fd;
    int64_t size, offset, held, line_at; /* of the file; read so far; in the buffer; the current line in the buffer */
    char *buffer;
    int64_t buffer_bytes;
    char *text; /* a buffer for unescaped text */
    int64_t text_bytes;
    Building *building;
    int64_t rows, line_bytes;
    int64_t at_line; /* in an indexed file */
    int makes_index;
    int may_have_place, is_linked; /* whether the block may have a requested event; whether the line's span is requested */
    const char *kind, *level;   /* of the current line */
    int kind_len, level_len;
    uint16_t line_spans[2];
    const char *error;
} Stream;

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

/* Unescape a text that `text_end` has checked. */
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

/* Whether no shorter number has the same double value, which is certain up to 15 digits. */
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

/* Whether DuckDB's reader would keep the text of the value; it rewrites some numbers and escapes. */
static int is_as_written(const char *at, const char *end) {
    if (memchr(at, '\\', (size_t)(end - at)) != NULL) return 0;
    const char *first = at;
    for (; at < end; at++) { /* each number, even inside texts, which is stricter than necessary */
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

/* Whether DuckDB certainly does not read a text as a number. */
static int is_no_number(const char *at, const char *end) {
    if (at < end && strchr("iInN+- ", *at) != NULL) return 0;
    for (; at < end; at++)
        if (*at >= '0' && *at <= '9') return 0;
    return 1;
}

static int integer_of(const char *at, const char *end, int64_t *value) {
    int negative = *at == '-';
    const char *digit = at + negative;
    int64_t found = 0;
    for (; digit < end && *digit >= '0' && *digit <= '9' && digit - at <= MOST_DIGITS; digit++) found = found * 10 + *digit - '0';
    if (digit < end) { /* rounded half to even, as in DuckDB */
        double real;
        if (!double_of(at, end, &real) || !(real > -1e18 && real < 1e18)) return 0;
        found = (int64_t)nearbyint(real);
        negative = 0;
    }
    *value = negative ? -found : found;
    return 1;
}

/* Store the value from `at` to `end`; 0 if DuckDB's reader has to read it, -1 if memory runs out. */
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

/* The slot of an event in the hash table, or the free slot for it. */
static Place *place_of(const Question *question, const char *writer, int64_t seq) {
    uint64_t name;
    memcpy(&name, writer, 8);
    uint64_t slot = ((name ^ (uint64_t)seq) * 0x9E3779B97F4A7C15u) >> 20;
    for (;; slot++) {
        Place *found = &question->place[slot & (question->slots - 1)];
        if (found->seq < 0 || (found->seq == seq && found->writer == name)) return found;
    }
}

/* A 16-bit hash of a text; different texts may have the same. */
static uint16_t mark_of(const char *text, int64_t length) {
    uint32_t hash = 2166136261u;
    for (int64_t at = 0; at < length; at++) hash = (hash ^ (unsigned char)text[at]) * 16777619u;
    return (uint16_t)(SPAN_MARKS + (hash ^ hash >> 16) % (UINT16_MAX + 1u - SPAN_MARKS));
}

static int has_span(const Question *question, uint16_t mark) {
    if (mark < SPAN_MARKS) return mark == SPAN_UNCLEAR;
    int64_t first = 0, behind = question->spans;
    while (first < behind) {
        int64_t middle = (first + behind) / 2;
        if (question->span[middle] < mark) first = middle + 1;
        else behind = middle;
    }
    return first < question->spans && question->span[first] == mark;
}

static int has_place_between(const Question *question, int64_t low, int64_t high) {
    int64_t first = 0, behind = question->numbers;
    while (first < behind) {
        int64_t middle = (first + behind) / 2;
        if (question->number[middle] < low) first = middle + 1;
        else behind = middle;
    }
    return first < question->numbers && question->number[first] <= high;
}

static int bit_of_level(const Stream *stream) {
    if (stream->level_len == 5) return memcmp(stream->level, "ERROR", 5) == 0 ? ERROR_BIT : 0;
    if (stream->level_len == 8) return memcmp(stream->level, "CRITICAL", 8) == 0 ? ERROR_BIT : 0;
    return stream->level_len == 7 && memcmp(stream->level, "WARNING", 7) == 0 ? WARNING_BIT : 0;
}

/* Whether the line may be requested, judged by the part read so far. */
static int is_asked(const Stream *stream) {
    const Question *question = stream->question;
    if (!question->is_filtered || (question->levels && (stream->level == NULL || (question->levels & bit_of_level(stream))))) return 1;
    const char *kind = stream->kind == NULL ? "log" : stream->kind;
    int length = stream->kind == NULL ? 3 : stream->kind_len;
    for (int at = 0; at < question->kinds; at++)
        if (question->kind_len[at] == length && memcmp(question->kind[at], kind, (size_t)length) == 0) return 1;
    return 0;
}

static int is_kind_key(const char *key, int64_t length, int is_payload) {
    return is_payload ? length == 10 && memcmp(key, "event_type", 10) == 0 : length == 4 && memcmp(key, "type", 4) == 0;
}

/* Read one object: each value is stored in the columns with its key. Returns FAILED, NOT_READ, READ or NOT_ASKED. */
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
        uint16_t *span = NULL;
        if (!is_payload && length == 7 && memcmp(key, "span_id", 7) == 0) span = &stream->line_spans[0];
        if (!is_payload && length == 14 && memcmp(key, "parent_span_id", 14) == 0) span = &stream->line_spans[1];
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
            if (span != NULL) *span = escaped ? SPAN_UNCLEAR : mark_of(value + 1, at - value - 2);
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
            if (*value != 'n' && span != NULL) *span = SPAN_UNCLEAR;
        }
        if (length)
            for (int column = slots[slot_of(key, length)]; column >= 0; column = next[column]) {
                const Column *asked = &question->column[column];
                const char *wanted = is_payload ? asked->inner : asked->outer;
                if (length != (is_payload ? asked->inner_len : asked->outer_len) || memcmp(key, wanted, (size_t)length) != 0)
                    continue;
                /* a repeated key, or one both in the payload and next to it: DuckDB decides which value counts */
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

/* Undo the stored values of an incomplete row. */
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
    if (question->place != NULL && !stream->is_linked && place_of(question, head.id, head.seq)->seq < 0) return NOT_ASKED;
    const char *at = head.rest;
    stream->kind = stream->level = NULL;
    stream->kind_len = stream->level_len = 0;
    stream->line_spans[0] = stream->line_spans[1] = SPAN_NONE;
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

/* Mark the number of an event; repeated or very large numbers have to be counted elsewhere. */
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

/* Allocate memory for a number of lines of a file, at least as many as it has now. */
static int take_room(File *file, int64_t room) {
    uint32_t *lengths = realloc(file->length, (size_t)room * sizeof *lengths);
    if (lengths != NULL) file->length = lengths;
    uint16_t *spans = realloc(file->spans, (size_t)room * 2 * sizeof *spans);
    if (spans != NULL) file->spans = spans;
    uint16_t *whats = realloc(file->what, (size_t)room * sizeof *whats);
    if (whats != NULL) file->what = whats;
    Ends *ends = realloc(file->ends, ((size_t)room / BLOCK_LINES + 1) * sizeof *ends);
    if (ends != NULL) file->ends = ends;
    if (lengths == NULL || spans == NULL || whats == NULL || ends == NULL) return 0;
    file->room = room;
    return 1;
}

static int note_line(Stream *stream, int64_t length, const Head *head) {
    Files *files = stream->question->files;
    File *file = &files->file[stream->at_file];
    if (file->lines == file->room && !take_room(file, file->room ? 2 * file->room : 256)) return 0;
    Ends *ends = file->ends + file->lines / BLOCK_LINES;
    if (file->lines % BLOCK_LINES == 0) *ends = (Ends){head->us, head->us, head->seq, head->seq};
    if (head->us < ends->first_us) ends->first_us = head->us;
    if (head->us > ends->last_us) ends->last_us = head->us;
    if (head->seq < ends->low) ends->low = head->seq;
    if (head->seq > ends->high) ends->high = head->seq;
    int kind = stream->kind == NULL ? kind_number(files, "log", 3) : kind_number(files, stream->kind, stream->kind_len);
    if (kind < 0) stream->makes_index = 0; /* too many kinds: build no index */
    if (head->us < files->first_us) files->first_us = head->us;
    if (head->us > files->last_us) files->last_us = head->us;
    file->length[file->lines] = (uint32_t)length;
    memcpy(&file->spans[2 * file->lines], stream->line_spans, sizeof stream->line_spans);
    file->what[file->lines++] = (uint16_t)(kind | bit_of_level(stream));
    return note_number(files, head);
}

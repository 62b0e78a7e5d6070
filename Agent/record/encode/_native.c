/* The inner loops of the hot path in C: whether a payload is plain, known and clean, and if so its JSON bytes;
   which fields of a state differ; the beginning of a line.

   An accelerator of `capture.py`, `redaction.py` and `timestamps.py`, which do the same without it; a test holds both
   equal. It knows no secret and no name itself: what to look for is handed to the constructor. Whatever it is
   not sure of it leaves to Python, so that it may be wrong in one direction only, the slow one. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <datetime.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <time.h>

#ifdef Py_GIL_DISABLED
#error "reads dicts and lists without a lock, which only the interpreter's own lock makes safe"
#endif

enum { MAX_DEPTH = 8, MAX_TAGS = 4096, LONG_RUN = 20, LONG_MARKED = 40, NAME_REACH = 160, NEAR_REACH = 24, FIELD_REACH = 10, LONGEST_ESCAPE = 9, VALUE_REACH = 200 };

typedef struct {
    const char *bytes;
    Py_ssize_t size;
} Literal;

typedef struct {
    PyObject *owner; /* the tuple that keeps the literals alive */
    Literal *items;
    Py_ssize_t count;
    Py_ssize_t begin[256], end[256]; /* those of one first, or last, letter */
} Literals;

typedef struct {
    PyObject_HEAD
    PyObject *known_keys, *number_keys, *dumps, *looks_clean, *options, *tag_options;
    PyObject *form_of; /* NULL, or who says what stands for an object without a codec */
    PyObject *uuid_type, *uuid_unknown; /* and what it usually says of its safety */
    Literals prefixes, heads, near_names, name_ends, suffixes, inner_names, other_scripts, saying, openers;
    unsigned char may_open[256]; /* by the last two letters of an opener */
    unsigned char may_be_last[256]; /* of a name, or of what may stand behind it */
    unsigned char short_ends[1 << 12], long_ends[1 << 12]; /* a bit for each ending of a name, below five letters and from five on */
    Py_ssize_t unread_bytes;
} Judge;

static unsigned char IN_TOKEN[256], IS_HEX[256], IS_BETWEEN[256], IS_WORD[256], IN_NAME[256], LOWER[256];
static PyObject *TAG_TUPLE, *TAG_UUID, *TAG_DATETIME, *TAG_DATE, *TAG_OPAQUE, *W_is_safe;
static PyObject *JSON_NULL;
static PyObject *NUMBER_TAGS; /* {type: tag} of numpy's numbers */
static PyObject *W_item; /* the method of numpy's numbers that gives Python's */
static PyObject *MARKS[4]; /* what a JSON Pointer escapes, each with its escape */

static unsigned char RARE[13]; /* marks that belong to a secret, and seldom to anything else */

static void fill_tables(void) {
    memcpy(RARE, "=>%('`#<$|@~\\", sizeof RARE);
    for (int c = 0; c < 256; c++) {
        int digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        LOWER[c] = (unsigned char)(upper ? c + 32 : c);
        IS_HEX[c] = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '-';
        IS_BETWEEN[c] = digit || (c != 0 && strchr(" \\\"'`_-[].?+|", c) != NULL);
        IS_WORD[c] = digit || upper || lower;
        IN_NAME[c] = IS_WORD[c] || c == '_' || c == '-' || c >= 128;
        IN_TOKEN[c] = IS_WORD[c] || c == '-' || c == '_' || c == '+' || c == '/';
    }
}

/* ---- the bytes ---- */

static int same_folded(const char *text, const Literal *literal) {
    for (Py_ssize_t i = 0; i < literal->size; i++)
        if (LOWER[(unsigned char)text[i]] != (unsigned char)literal->bytes[i]) return 0;
    return 1;
}

/* The same letters; `#` in the literal is any hexadecimal digit, `?` any character of a run. */
static int same_shape(const char *text, const Literal *literal) {
    for (Py_ssize_t i = 0; i < literal->size; i++) {
        unsigned char c = (unsigned char)text[i], wanted = (unsigned char)literal->bytes[i];
        if (c == wanted) continue;
        if (wanted == '#' ? !IS_HEX[c] || c == '-' : wanted != '?' || !IN_TOKEN[c]) return 0;
    }
    return 1;
}

static int are_hex(const char *at, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if (!IS_HEX[(unsigned char)at[i]] || at[i] == '-') return 0;
    return 1;
}

/* Whether an encoded character ends at a place, as `after_escape` of Python knows it: `\\n`, `%3D`, `[32m`. */
static int ends_escape(const char *begin, const char *at) {
    const char *tail = at;
    while (tail > begin && at - tail <= LONGEST_ESCAPE && IS_WORD[(unsigned char)tail[-1]]) tail--;
    Py_ssize_t size = at - tail;
    if (tail == begin || size == 0 || size > LONGEST_ESCAPE) return 0;
    switch (tail[-1]) {
    case '\\':
        if (size == 1) return strchr("abefnrtv0", *tail) != NULL;
        return (size == 3 && (*tail == 'x' || *tail < '8')) || (size == 5 && *tail == 'u') || (size == 9 && *tail == 'U');
    case '%': return (size == 2 || size == 4 || size == 6) && are_hex(tail, size);
    case '=': return size == 2 && are_hex(tail, size);
    case '[':
    case ';': return size <= 4 && at[-1] > '9';
    case '(': return size == 1 && *tail == 'B';
    default: return 0;
    }
}

static int prefix_at(const Judge *judge, const char *at, const char *end) {
    if (at >= end) return 0;
    const Literals *prefixes = &judge->prefixes;
    for (Py_ssize_t i = prefixes->begin[(unsigned char)*at]; i < prefixes->end[(unsigned char)*at]; i++)
        if (end - at >= prefixes->items[i].size && same_shape(at, &prefixes->items[i])) return 1;
    return 0;
}

/* Whether the head of a marked key ends where a run begins; a letter or digit before it makes it a part of a word. */
static int head_before(const Judge *judge, const char *begin, const char *run) {
    if (run == begin) return 0;
    const Literals *heads = &judge->heads;
    for (Py_ssize_t i = heads->begin[(unsigned char)run[-1]]; i < heads->end[(unsigned char)run[-1]]; i++) {
        const char *head = run - heads->items[i].size;
        if (head < begin || !same_shape(head, &heads->items[i])) continue;
        if (head == begin || !IS_WORD[(unsigned char)*head] || !IS_WORD[(unsigned char)head[-1]]) return 1;
        if (ends_escape(begin, head)) return 1;
    }
    return 0;
}

/* Whether a text is in the bytes; its first letter is looked for first. */
static int holds(const char *raw, const char *end, char first, const char *text) {
    size_t size = strlen(text);
    for (const char *at = raw; (at = memchr(at, first, (size_t)(end - at))) != NULL; at++)
        if ((size_t)(end - at) >= size && memcmp(at, text, size) == 0) return 1;
    return 0;
}

/* Whether a long run of token characters may hold a vendor's key, or stands behind the name of a secret. */
static int run_is_harmless(const Judge *judge, const char *begin, const char *run, const char *end) {
    int only_hex = 1;
    for (const char *at = run; at < end && only_hex; at++) only_hex = IS_HEX[(unsigned char)*at];
    if (prefix_at(judge, run, end)) return 0;
    if (run > begin && memchr("\\%=[;(", run[-1], 6) != NULL)
        for (int size = 1; size <= (run[-1] == '\\' ? LONGEST_ESCAPE : 6); size++)
            if (prefix_at(judge, run + size, end) && ends_escape(begin, run + size)) return 0;
    if (!only_hex) {
        for (const char *at = run; at < end; at++)
            if ((*at == '-' || *at == '_' || *at == '+' || *at == '/') && prefix_at(judge, at + 1, end)) return 0;
    }
    if (end - run >= LONG_MARKED && (holds(run, end, 'A', "AZDO") || holds(run, end, 'j', "jsn"))) return 0;
    if (run > begin && run[-1] == '"') return 1;
    if (head_before(judge, begin, run)) return 0;
    const char *near = run - begin > NEAR_REACH ? run - NEAR_REACH : begin;
    int digits = 0;
    for (const char *at = near; at < run; at++) {
        if ((*at == ':' || *at == '|') && digits >= 5) return 0;
        digits = *at >= '0' && *at <= '9' ? digits + 1 : 0;
        const Literals *names = &judge->near_names;
        unsigned char first = LOWER[(unsigned char)*at];
        for (Py_ssize_t i = names->begin[first]; i < names->end[first]; i++)
            if (run - at >= names->items[i].size && same_folded(at, &names->items[i])) return 0;
    }
    return 1;
}

/* Fifteen bits made of the last three letters, and of the last five. */
static unsigned short_ending(const unsigned char *end) {
    return (unsigned)(LOWER[end[-3]] & 31) << 10 | (unsigned)(LOWER[end[-2]] & 31) << 5 | (LOWER[end[-1]] & 31);
}

static unsigned long_ending(const unsigned char *end) {
    return (short_ending(end) ^ (unsigned)(LOWER[end[-4]] & 31) << 8 ^ (unsigned)(LOWER[end[-5]] & 31) << 3) & 0x7fff;
}

static int has_bit(const unsigned char *bits, unsigned at) { return bits[at >> 3] >> (at & 7) & 1; }

/* Whether a text may end like the name of a secret. */
static inline int may_end_name(const Judge *judge, const unsigned char *begin, const unsigned char *end) {
    if (end - begin >= 5)
        return has_bit(judge->short_ends, short_ending(end)) || has_bit(judge->long_ends, long_ending(end));
    if (end - begin >= 3) return has_bit(judge->short_ends, short_ending(end));
    if (end - begin < 2) return 0;
    unsigned char letters[] = {0, end[-2], end[-1]};
    return has_bit(judge->short_ends, short_ending(letters + 3));
}

/* How many bytes at the end of a text are one of these words, in which letters may be capitals. */
static Py_ssize_t ending(const Literals *words, const char *begin, const char *end) {
    unsigned char last = LOWER[(unsigned char)end[-1]], before = end - begin > 1 ? LOWER[(unsigned char)end[-2]] : 0;
    for (Py_ssize_t i = words->begin[last]; i < words->end[last]; i++) {
        const Literal *word = &words->items[i];
        if (end - begin < word->size || (word->size > 1 && (unsigned char)word->bytes[word->size - 2] != before)) continue;
        if (same_folded(end - word->size, word)) return word->size;
    }
    return 0;
}

/* Whether what stands before a sign is not the name of a secret, perhaps with suffixes. */
static int name_is_harmless(const Judge *judge, const char *begin, const char *sign) {
    for (const char *end = sign;;) {
        const char *first = end - begin > NAME_REACH ? end - NAME_REACH : begin;
        while (end > first && IS_BETWEEN[(unsigned char)end[-1]]) end--;
        if (!may_end_name(judge, (const unsigned char *)begin, (const unsigned char *)end)) return 1;
        if (ending(&judge->name_ends, begin, end) > 0) return 0;
        Py_ssize_t size = ending(&judge->suffixes, begin, end);
        if (size == 0) return 1;
        end -= size;
    }
}

/* Whether each such sign in the text has no name of a secret before it. */
static int signs_are_harmless(const Judge *judge, const char *raw, const char *end, char sign) {
    for (const char *at = raw; (at = memchr(at, sign, (size_t)(end - at))) != NULL; at++)
        if (!name_is_harmless(judge, raw, at)) return 0;
    return 1;
}

static int runs_are_harmless(const Judge *judge, const char *raw, const char *end) {
    /* a run of that length covers one of these places */
    for (const char *at = raw + LONG_RUN - 1; at < end; at += LONG_RUN) {
        if (!IN_TOKEN[(unsigned char)*at]) continue;
        const char *run = at;
        while (run > raw && IN_TOKEN[(unsigned char)run[-1]]) run--;
        while (at < end && IN_TOKEN[(unsigned char)*at]) at++;
        if (at - run >= LONG_RUN && !run_is_harmless(judge, raw, run, at)) return 0;
    }
    return 1;
}

static unsigned char last_two(const char *past) {
    return (unsigned char)(LOWER[(unsigned char)past[-1]] * 31 + LOWER[(unsigned char)past[-2]]);
}

/* Whether words before a blank introduce a secret, as `Bearer` does. */
static int ends_opener(const Judge *judge, const char *raw, const char *blank) {
    return blank - raw > 1 && judge->may_open[last_two(blank)] && ending(&judge->openers, raw, blank) > 0;
}

/* Whether a blank stands before an option that carries a password with some programs: `-p`, `-k`, `-u`, `--user`. */
static int begins_option(const char *blank, const char *end) {
    if (end - blank < 3 || blank[1] != '-') return 0;
    return strchr("aAwPpSuUkK", blank[2]) != NULL || (end - blank > 6 && memcmp(blank + 2, "-user", 5) == 0);
}

/* Whether what follows a blank may be the secret of the name before it. */
static int may_follow_name(const Judge *judge, const char *blank, const char *end) {
    const char *at = blank;
    while (at < end && (*at == ' ' || *at == '|')) at++;
    if (at == end) return 0;
    if (strchr("-'`\\", *at) != NULL) return 1;
    const Literals *words = &judge->saying;
    unsigned char first = LOWER[(unsigned char)*at];
    for (Py_ssize_t i = words->begin[first]; i < words->end[first]; i++)
        if (end - at >= words->items[i].size && same_folded(at, &words->items[i])) return 1;
    /* a word with a digit, perhaps of another script */
    const char *limit = end - at > VALUE_REACH ? at + VALUE_REACH + 1 : end;
    for (; at < limit && *at != ' ' && *at != '"'; at++)
        if ((*at >= '0' && *at <= '9') || (unsigned char)*at >= 128) return 1;
    return 0;
}

/* Whether the word before a blank is an option, as `--password`. */
static int ends_option(const char *raw, const char *blank) {
    const char *word = blank;
    while (word > raw && blank - word < NAME_REACH && IN_NAME[(unsigned char)word[-1]]) word--;
    /* behind a backslash, a letter is that of an escape */
    if (word > raw && word[-1] == '\\') word++;
    return word < blank && *word == '-';
}

static int blanks_are_harmless(const Judge *judge, const char *raw, const char *end) {
    for (const char *at = raw; (at = memchr(at, ' ', (size_t)(end - at))) != NULL; at++) {
        if (ends_opener(judge, raw, at) || begins_option(at, end)) return 0;
        if (at > raw && at[-1] == ' ') continue;
        if (!name_is_harmless(judge, raw, at) && (may_follow_name(judge, at, end) || ends_option(raw, at))) return 0;
    }
    return 1;
}

/* Whether a string of its own, which is no key, ends like the name of a secret: the next may be the secret. */
static int values_are_harmless(const Judge *judge, const char *raw, const char *end) {
    /* quotes are too near to each other for memchr */
    for (const char *at = raw; at + 1 < end; at++)
        if (*at == '"' && (at[1] == ',' || at[1] == ']' || at[1] == '}') && !name_is_harmless(judge, raw, at)) return 0;
    return 1;
}

/* Whether two `$` are as near to each other as in the hash of a password. */
static int has_fields(const char *raw, const char *end) {
    const char *last = NULL;
    for (const char *at = raw; (at = memchr(at, '$', (size_t)(end - at))) != NULL; at++) {
        if (last != NULL && at - last < FIELD_REACH) return 1;
        last = at;
    }
    return 0;
}

/* Whether a colon stands elsewhere than behind a quote; without a way out, so that it is done many bytes at a time. */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
static int has_own_colon(const char *raw, Py_ssize_t size) {
    unsigned char found = 0;
    for (Py_ssize_t i = 1; i < size; i++) found |= (unsigned char)((raw[i] == ':') & (raw[i - 1] != '"'));
    return found;
}

enum { MAY_BE_NAMED = 1, IS_NOT_ASCII = 2, HAS_SIGNS = 4, HAS_MARKS = 8, HAS_BACKSLASH = 16 };

/* Whether one of the names that anything may follow may be there, whether there is a letter beyond ASCII, and one of the
   rare marks; without a way out, so that it is done many bytes at a time. Names are known by `ecr`, `cred`, `assc`, `assp`, `ssw`, `srf`, `pwd`, `jwt`, `nnw`, `htw`,
   `rizat` and `risat`. */
enum { BLOCK = 16 };

#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
static int found_in_blocks(const char *raw, Py_ssize_t count) {
    unsigned char named = 0, beyond = 0, signs = 0, marks = 0, slash = 0;
    for (Py_ssize_t i = 0; i < count * BLOCK; i++) {
        unsigned char a = raw[i - 4] | 32, b = raw[i - 3] | 32, c = raw[i - 2] | 32, d = raw[i - 1] | 32, e = raw[i] | 32;
        named |= (unsigned char)((c == 'e') & (d == 'c') & (e == 'r'));
        named |= (unsigned char)((b == 'c') & (c == 'r') & (d == 'e') & (e == 'd'));
        named |= (unsigned char)((c == 's') & (d == 's') & ((e == 'w') | ((b == 'a') & ((e == 'c') | (e == 'p')))));
        named |= (unsigned char)((c == 's') & (d == 'r') & (e == 'f'));
        named |= (unsigned char)((d == 'w') & (((c == 'p') & (e == 'd')) | ((c == 'j') & (e == 't'))));
        named |= (unsigned char)((e == 'w') & (((c == 'n') & (d == 'n')) | ((c == 'h') & (d == 't'))));
        named |= (unsigned char)((a == 'r') & (b == 'i') & ((c == 'z') | (c == 's')) & (d == 'a') & (e == 't'));
    }
    /* variables, since tests for constants become one test of a bit, one byte at a time */
    const unsigned char *m = RARE;
    unsigned char m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5], m6 = m[6], m7 = m[7], m8 = m[8], m9 = m[9];
    unsigned char m10 = m[10], m11 = m[11], m12 = m[12];
    for (Py_ssize_t i = 0; i < count * BLOCK; i++) {
        unsigned char c = (unsigned char)raw[i];
        beyond |= c;
        signs |= (unsigned char)((c == m0) | (c == m1) | (c == m2) | (c == m3) | (c == m4) | (c == m5) | (c == m6) | (c == m7));
        marks |= (unsigned char)((c == m8) | (c == m9) | (c == m10) | (c == m11));
        slash |= (unsigned char)(c == m12);
    }
    return (named ? MAY_BE_NAMED : 0) | (beyond >= 128 ? IS_NOT_ASCII : 0) | (signs ? HAS_SIGNS : 0)
        | (marks ? HAS_MARKS : 0) | (slash ? HAS_BACKSLASH : 0);
}

/* The first bytes, and the last ones where they fill no block, are looked at in a block with zeros before them. */
static int found_in(const char *raw, Py_ssize_t size) {
    char block[4 + BLOCK + BLOCK] = {0};
    if (size <= BLOCK) {
        memcpy(block + 4 + BLOCK - size, raw, (size_t)size);
        return found_in_blocks(block + 4, 1);
    }
    memcpy(block + 4, raw, BLOCK);
    Py_ssize_t count = (size - 4) / BLOCK;
    int found = found_in_blocks(block + 4, 1) | (count > 0 ? found_in_blocks(raw + 4, count) : 0);
    return found | found_in_blocks(raw + size - BLOCK, 1);
}

/* Whether a name that anything may follow stands at a place, other than as one of JSON's own keys. */
static int is_inner_name(const Literals *names, const char *at, const char *end) {
    unsigned char first = LOWER[(unsigned char)*at];
    for (Py_ssize_t i = names->begin[first]; i < names->end[first]; i++) {
        if (end - at < names->items[i].size || !same_folded(at, &names->items[i])) continue;
        const char *past = at + names->items[i].size;
        while (past < end && IN_NAME[(unsigned char)*past]) past++;
        if (end - past < 2 || past[0] != '"' || past[1] != ':') return 1;
    }
    return 0;
}

static int names_are_harmless(const Judge *judge, const char *raw, const char *end, int found) {
    for (const char *at = raw; (found & MAY_BE_NAMED) && at < end; at++)
        if (is_inner_name(&judge->inner_names, at, end)) return 0;
    for (const char *at = raw; (found & IS_NOT_ASCII) && at < end; at++)
        if (is_inner_name(&judge->other_scripts, at, end)) return 0;
    return 1;
}

/* Whether a comma or a semicolon stands between a letter and no blank, as it does in a table and seldom in prose; without a
   way out, so that it is done many bytes at a time. */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((noinline, optimize("O3")))
#endif
static int has_separator(const unsigned char *raw, Py_ssize_t size) {
    unsigned char found = 0;
    for (Py_ssize_t i = 1; i < size; i++) {
        unsigned char letter = (unsigned char)((raw[i - 1] | 32) - 'a'), separator = raw[i], behind = raw[i + 1];
        found |= (unsigned char)(((separator == ',') | (separator == ';')) & (behind != ' ') & (letter < 26));
    }
    return found;
}

/* Whether no column of a table of text is the name of a secret: before `|`, or before a comma in a text of several lines.
   Called seldom, and so kept out of the loops around it. */
#if defined(__GNUC__)
__attribute__((noinline))
#endif
static int columns_are_harmless(const Judge *judge, const char *raw, const char *end, int found) {
    if ((found & HAS_BACKSLASH) && has_separator((const unsigned char *)raw, end - raw))
        for (const char *at = raw + 1; at < end; at++)
            if ((*at == ',' || *at == ';') && at[1] != ' ' && IS_WORD[(unsigned char)at[-1]] && !name_is_harmless(judge, raw, at)) return 0;
    return !(found & HAS_MARKS) || signs_are_harmless(judge, raw, end, '|');
}

/* Whether a colon ends the port of a line in PostgreSQL's file of passwords: `host:5432:database:user:password`. */
#if defined(__GNUC__)
__attribute__((noinline, cold))
#endif
static int ends_port(const char *raw, const char *colon) { return colon - raw >= 5 && memcmp(colon - 5, ":5432", 5) == 0; }

/* What stands behind a percent-encoded sign, perhaps encoded again; NULL where another one, or none, is encoded. */
static const char *behind_quoted(const char *at, const char *end, char digit, char letter) {
    if (at >= end || *at != '%') return NULL;
    at += end - at > 3 && at[1] == '2' && at[2] == '5' ? 3 : 1;
    return end - at >= 2 && at[0] == digit && LOWER[(unsigned char)at[1]] == letter ? at + 2 : NULL;
}

/* Whether the scheme of a URL in another URL ends somewhere, as `%3A%2F%2F`, `%3A//` or `:%2F%2F`, perhaps encoded again,
   or its `@` is encoded. */
static int has_quoted_url(const char *raw, const char *end) {
    for (const char *at = raw; (at = memchr(at, '%', (size_t)(end - at))) != NULL; at++) {
        if (at > raw && at[-1] == ':' && behind_quoted(at, end, '2', 'f') != NULL) return 1;
        if (behind_quoted(at, end, '4', '0') != NULL && holds(raw, end, ':', "://")) return 1;
        const char *colon = behind_quoted(at, end, '3', 'a');
        if (colon == NULL) continue;
        if (behind_quoted(colon, end, '2', 'f') != NULL || (end - colon > 1 && colon[0] == '/' && colon[1] == '/')) return 1;
    }
    return 0;
}

/* Whether a text that is JSON escapes a letter, as nobody needs to: `p\\u0061ssword`. */
static int has_escaped_letter(const char *raw, const char *end) {
    for (const char *at = raw; (at = memchr(at, '\\', (size_t)(end - at))) != NULL; at++)
        if (end - at > 5 && memcmp(at + 1, "u00", 3) == 0 && at[4] >= '4' && at[4] <= '7') return 1;
    return 0;
}

/* Whether none of the rare marks that were found belongs to a secret. */
static int marks_are_harmless(const Judge *judge, const char *raw, const char *end, int found) {
    for (const char *sign = "=>%('`#<"; (found & HAS_SIGNS) && *sign != 0; sign++)
        if (!signs_are_harmless(judge, raw, end, *sign)) return 0;
    if ((found & HAS_SIGNS) && has_quoted_url(raw, end)) return 0;
    if ((found & HAS_BACKSLASH) && (!signs_are_harmless(judge, raw, end, '\\') || holds(raw, end, 'P', "PRIVATE KEY"))) return 0;
    if ((found & HAS_BACKSLASH) && has_escaped_letter(raw, end)) return 0;
    if (!(found & HAS_MARKS)) return 1;
    if (memchr(raw, '$', (size_t)(end - raw)) != NULL
        && (has_fields(raw, end) || holds(raw, end, 's', "scrypt:") || holds(raw, end, 'p', "pbkdf2")))
        return 0;
    if (memchr(raw, '|', (size_t)(end - raw)) != NULL && holds(raw, end, '-', "-stdin")) return 0;
    if (memchr(raw, '@', (size_t)(end - raw)) != NULL && holds(raw, end, ':', "://")) return 0;
    return !holds(raw, end, 'Q', "Q~");
}

/* Whether no byte can belong to the shape of a secret; 0 means that Python has to look. `values_are_harmless` checks whole
   strings. */
static int sweep(const Judge *judge, const char *raw, Py_ssize_t size) {
    const char *end = raw + size;
    if (!runs_are_harmless(judge, raw, end) || !blanks_are_harmless(judge, raw, end)) return 0;
    /* of JSON's own colons each stands behind a quote */
    if (has_own_colon(raw, size))
        for (const char *at = raw; (at = memchr(at, ':', (size_t)(end - at))) != NULL; at++)
            if (at > raw && at[-1] != '"' && (!name_is_harmless(judge, raw, at) || (at[-1] == '2' && ends_port(raw, at)))) return 0;
    int found = found_in(raw, size);
    if ((found & (HAS_BACKSLASH | HAS_MARKS)) && !columns_are_harmless(judge, raw, end, found)) return 0;
    return names_are_harmless(judge, raw, end, found) && marks_are_harmless(judge, raw, end, found);
}

/* 1 clean, 0 not, -1 with an exception. `named` is 0 where it is known that no text ends like the name of a secret. */
static int is_clean(Judge *judge, PyObject *raw, int named) {
    const char *at = PyBytes_AS_STRING(raw);
    Py_ssize_t size = PyBytes_GET_SIZE(raw);
    /* Python would find the same name. */
    if (named && !values_are_harmless(judge, at, at + size)) return 0;
    if (sweep(judge, at, size)) return 1;
    PyObject *answer = PyObject_CallOneArg(judge->looks_clean, raw);
    if (answer == NULL) return -1;
    int clean = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return clean;
}

/* ---- the values ---- */

typedef struct Place {
    const struct Place *above;
    PyObject *key; /* NULL in an array */
    Py_ssize_t index;
} Place;

typedef struct {
    Judge *judge;
    PyObject *pointer; /* NULL where no tags are wanted */
    PyObject *types;   /* NULL until the first tag */
    Py_ssize_t left;   /* of the bytes that its JSON may have; below 0 the codec is not asked to allocate them */
    int named;         /* whether a text ends like the name of a secret; the text behind it may be one */
    PyObject *objects; /* NULL until the first object without a codec; those met, each of them once */
    PyObject *given;   /* NULL, or {id: form} of values of the payload; other objects are then taken at its top alone */
    Py_ssize_t beyond; /* bytes that its JSON may have above those counted in `left` */
    Py_ssize_t widest; /* keys and values of the container that has most */
    int below;         /* how many containers of the payload may stand around values that are `given` */
} Walk;

/* The place as text at the end of a buffer that ends at `end`; NULL where it does not fit or is not ASCII. */
static char *short_pointer(char *begin, char *end, const Place *place) {
    for (; place != NULL; place = place->above) {
        if (place->key == NULL) {
            if (end - begin < 24) return NULL;
            for (Py_ssize_t index = place->index, first = 1; first || index > 0; index /= 10, first = 0)
                *--end = (char)('0' + index % 10);
        } else {
            if (!PyUnicode_IS_COMPACT_ASCII(place->key)) return NULL;
            Py_ssize_t size = PyUnicode_GET_LENGTH(place->key);
            const char *key = (const char *)PyUnicode_1BYTE_DATA(place->key);
            if (end - begin < 2 * size + 2) return NULL;
            for (Py_ssize_t i = size - 1; i >= 0; i--) {
                int is_mark = key[i] == '~' || key[i] == '/';
                *--end = is_mark ? (key[i] == '~' ? '0' : '1') : key[i];
                if (is_mark) *--end = '~';
            }
        }
        *--end = '/';
    }
    return end;
}

/* The JSON Pointer of a place, a new reference. */
static PyObject *pointer_to(PyObject *root, const Place *place) {
    char buffer[512], *end = buffer + sizeof buffer, *begin = NULL;
    if (PyUnicode_IS_COMPACT_ASCII(root)) begin = short_pointer(buffer, end, place);
    if (begin != NULL) {
        Py_ssize_t above = PyUnicode_GET_LENGTH(root), size = end - begin;
        PyObject *pointer = PyUnicode_New(above + size, 127);
        if (pointer == NULL) return NULL;
        char *data = (char *)PyUnicode_1BYTE_DATA(pointer);
        memcpy(data, PyUnicode_1BYTE_DATA(root), (size_t)above);
        memcpy(data + above, begin, (size_t)size);
        return pointer;
    }
    if (place == NULL) return Py_NewRef(root);
    PyObject *above = pointer_to(root, place->above), *pointer = NULL;
    if (above != NULL && place->key == NULL) {
        pointer = PyUnicode_FromFormat("%U/%zd", above, place->index);
    } else if (above != NULL) {
        /* of a text without these marks these give the text itself */
        PyObject *half = PyUnicode_Replace(place->key, MARKS[0], MARKS[1], -1);
        PyObject *whole = half == NULL ? NULL : PyUnicode_Replace(half, MARKS[2], MARKS[3], -1);
        if (whole != NULL) pointer = PyUnicode_FromFormat("%U/%U", above, whole);
        Py_XDECREF(half);
        Py_XDECREF(whole);
    }
    Py_XDECREF(above);
    return pointer;
}

/* Note what a value really is; 1, or 0 where there are too many, or -1. */
static int tag(Walk *walk, const Place *place, PyObject *name) {
    if (walk->pointer == NULL) return 0;
    if (walk->types == NULL && (walk->types = PyDict_New()) == NULL) return -1;
    if (PyDict_GET_SIZE(walk->types) >= MAX_TAGS) return 0;
    PyObject *pointer = pointer_to(walk->pointer, place);
    if (pointer == NULL) return -1;
    int failed = PyDict_SetItem(walk->types, pointer, name);
    Py_DECREF(pointer);
    return failed < 0 ? -1 : 1;
}

static int tag_object(Walk *walk, const Place *place, PyObject *value);

/* Whether a text may end like the name of a secret; the bytes of its JSON are looked at then. */
static inline int may_name(const Judge *judge, PyObject *text) {
    if (!PyUnicode_IS_COMPACT_ASCII(text)) return 1;
    const unsigned char *begin = (const unsigned char *)((PyASCIIObject *)text + 1);
    const unsigned char *end = begin + ((PyASCIIObject *)text)->length;
    if (end == begin || !judge->may_be_last[end[-1]]) return 0;
    while (end > begin && IS_BETWEEN[end[-1]]) end--;
    if (!may_end_name(judge, begin, end)) return 0;
    /* many texts end like a suffix, and have no name before it */
    return ending(&judge->suffixes, (const char *)begin, (const char *)end) == 0
        || !name_is_harmless(judge, (const char *)begin, (const char *)end);
}

/* Whether a value under the name of a secret is a number, or a boolean, too small to be one; -1 with an exception. */
static int is_small_number(const Judge *judge, PyObject *key, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    int is_number = kind == &PyLong_Type || kind == &PyFloat_Type;
    if (!is_number && value != Py_None && kind != &PyBool_Type) return 0;
    PyObject *found = PyDict_GetItemWithError(judge->number_keys, key);
    if (found == NULL) return PyErr_Occurred() ? -1 : 0;
    double least = PyFloat_AsDouble(found), number = 0;
    if (is_number) number = PyFloat_AsDouble(value);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
        return 0;
    }
    return fabs(number) < least;
}

static inline void note_width(Walk *walk, Py_ssize_t children) {
    if (children > walk->widest) walk->widest = children;
}

/* 1 where JSON holds the value exactly (or with a tag), 0 where it needs another look, -1 with an exception. */
static int walk_value(Walk *walk, PyObject *value, const Place *place, int depth) {
    PyTypeObject *kind = Py_TYPE(value);
    /* n values take at least 2 n - 1 bytes, a string of n characters at least n */
    if ((walk->left -= kind == &PyUnicode_Type ? PyUnicode_GET_LENGTH(value) : 2) < 0) return 0;
    if (kind == &PyUnicode_Type) {
        if (!PyUnicode_IS_ASCII(value)) walk->beyond += 2 * PyUnicode_GET_LENGTH(value);
        if (!walk->named) walk->named = may_name(walk->judge, value);
        return 1;
    }
    if (kind == &PyLong_Type || kind == &PyBool_Type || value == Py_None) return 1;
    if (kind == &PyFloat_Type) return isfinite(PyFloat_AS_DOUBLE(value)) ? 1 : 0;
    if (depth > MAX_DEPTH) return 0;
    Place inner = {place, NULL, 0};
    if (kind == &PyDict_Type) {
        PyObject *key, *item;
        Py_ssize_t at = 0;
        note_width(walk, 2 * PyDict_GET_SIZE(value));
        while (PyDict_Next(value, &at, &key, &item)) {
            if (Py_TYPE(key) != &PyUnicode_Type) return 0;
            walk->left -= PyUnicode_GET_LENGTH(key);
            if (!PyUnicode_IS_ASCII(key)) walk->beyond += 2 * PyUnicode_GET_LENGTH(key);
            int answer = PySet_Contains(walk->judge->known_keys, key);
            if (answer == 0) answer = is_small_number(walk->judge, key, item);
            if (answer != 1) return answer;
            inner.key = key;
            if ((answer = walk_value(walk, item, &inner, depth + 1)) != 1) return answer;
        }
        return 1;
    }
    if (kind == &PyList_Type) {
        note_width(walk, PyList_GET_SIZE(value));
        for (; inner.index < PyList_GET_SIZE(value); inner.index++) {
            int answer = walk_value(walk, PyList_GET_ITEM(value, inner.index), &inner, depth + 1);
            if (answer != 1) return answer;
        }
        return 1;
    }
    if (kind == &PyTuple_Type) {
        Py_ssize_t size = PyTuple_GET_SIZE(value);
        note_width(walk, size);
        /* a pair may be a name and its secret */
        if (size == 2 && PyUnicode_Check(PyTuple_GET_ITEM(value, 0))) return 0;
        int answer = tag(walk, place, TAG_TUPLE);
        for (; answer == 1 && inner.index < size; inner.index++)
            answer = walk_value(walk, PyTuple_GET_ITEM(value, inner.index), &inner, depth + 1);
        return answer;
    }
    return walk->pointer == NULL ? 0 : tag_object(walk, place, value);
}

/* What the codec writes as text by itself, and as this project would. */
static int tag_object(Walk *walk, const Place *place, PyObject *value) {
    if (PyDateTime_CheckExact(value)) {
        PyObject *zone = PyDateTime_DATE_GET_TZINFO(value);
        if ((zone != Py_None && zone != PyDateTime_TimeZone_UTC) || PyDateTime_DATE_GET_FOLD(value)) return 0;
        return tag(walk, place, TAG_DATETIME);
    }
    if (PyDate_CheckExact(value)) return tag(walk, place, TAG_DATE);
    Judge *judge = walk->judge;
    if (judge->uuid_type == NULL) {
        PyObject *modules = PyImport_GetModuleDict(), *module = PyDict_GetItemString(modules, "uuid");
        if (module == NULL) return 0;
        PyObject *safety = PyObject_GetAttrString(module, "SafeUUID");
        Py_XSETREF(judge->uuid_unknown, safety == NULL ? NULL : PyObject_GetAttrString(safety, "unknown"));
        Py_XDECREF(safety);
        if (judge->uuid_unknown == NULL || (judge->uuid_type = PyObject_GetAttrString(module, "UUID")) == NULL) return -1;
    }
    if ((PyObject *)Py_TYPE(value) == judge->uuid_type) {
        PyObject *safe = PyObject_GetAttr(value, W_is_safe);
        if (safe == NULL) PyErr_Clear();
        Py_XDECREF(safe); /* the value has it */
        return safe == judge->uuid_unknown ? tag(walk, place, TAG_UUID) : 0;
    }
    PyObject *name = PyDict_GetItemWithError(NUMBER_TAGS, (PyObject *)Py_TYPE(value));
    if (name == NULL && (judge->form_of == NULL || PyErr_Occurred())) return PyErr_Occurred() ? -1 : 0;
    /* inside a container that has a tag the order of the tags would be another than that of Python's walk */
    int above = 0;
    for (const Place *around = place->above; around != NULL; around = around->above) above++;
    if (name == NULL && walk->given != NULL && above > walk->below) return 0;
    /* Nobody is asked here what stands for it, since that may run any code, which may change what is walked over. */
    for (Py_ssize_t i = 0; walk->objects != NULL && i < PyList_GET_SIZE(walk->objects); i++)
        if (PyList_GET_ITEM(walk->objects, i) == value) /* the second one tells the place of the first, unless it is a number */
            return name == NULL ? 0 : tag(walk, place, name);
    Py_INCREF(value);
    if (walk->objects == NULL) walk->objects = PyList_New(0);
    walk->beyond += 512; /* what stands for it */
    int failed = walk->objects == NULL || PyList_Append(walk->objects, value) < 0;
    Py_DECREF(value);
    return failed ? -1 : tag(walk, place, name == NULL ? TAG_OPAQUE : name);
}

static PyObject *form_at(PyObject *forms, PyObject *value) {
    PyObject *identity = PyLong_FromVoidPtr(value);
    PyObject *form = identity == NULL ? NULL : PyDict_GetItemWithError(forms, identity); /* borrowed */
    Py_XDECREF(identity);
    if (form == NULL && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "another object than those looked at");
    return Py_XNewRef(form);
}

static PyMethodDef form_at_definition = {"form_at", form_at, METH_O, "What stands for an object."};

/* Python's own number of one of numpy, as its `item()` gives it. A `numpy.float64` is a `float`, and need not be asked. */
static PyObject *own_number(PyObject *value) {
    if (PyFloat_Check(value)) return PyFloat_FromDouble(PyFloat_AS_DOUBLE(value));
    return PyObject_CallMethodNoArgs(value, W_item);
}

/* What stands for an object; of a number of numpy Python's own. NULL where it needs another look, perhaps with an exception. */
static PyObject *form_of_one(Judge *judge, PyObject *value) {
    PyObject *is_number = PyDict_GetItemWithError(NUMBER_TAGS, (PyObject *)Py_TYPE(value));
    if (is_number == NULL) return judge->form_of == NULL || PyErr_Occurred() ? NULL : PyObject_CallOneArg(judge->form_of, value);
    PyObject *number = own_number(value);
    if (number != NULL && PyFloat_CheckExact(number) && !isfinite(PyFloat_AS_DOUBLE(number))) Py_CLEAR(number);
    return number;
}

/* tag_numbers(type, tag): numbers of that type stand as what their `item()` gives, with this tag. */
static PyObject *tag_numbers(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyType_Check(arguments[0]) || !PyUnicode_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "tag_numbers(type, tag)");
        return NULL;
    }
    if (PyDict_SetItem(NUMBER_TAGS, arguments[0], arguments[1]) < 0) return NULL;
    Py_RETURN_NONE;
}

/* {id: form} of these objects; NULL where one of them needs another look, perhaps with an exception. */
static PyObject *forms_of(const Walk *walk) {
    PyObject *forms = PyDict_New(), *objects = walk->objects;
    for (Py_ssize_t i = 0; forms != NULL && i < PyList_GET_SIZE(objects); i++) {
        PyObject *value = PyList_GET_ITEM(objects, i), *identity = PyLong_FromVoidPtr(value), *form = NULL;
        if (identity != NULL && walk->given != NULL) form = Py_XNewRef(PyDict_GetItemWithError(walk->given, identity));
        if (identity != NULL && form == NULL && !PyErr_Occurred()) form = form_of_one(walk->judge, value);
        if (form == NULL || form == Py_None || PyDict_SetItem(forms, identity, form) < 0) Py_CLEAR(forms);
        Py_XDECREF(form);
        Py_XDECREF(identity);
    }
    return forms;
}

/* As `ask_memory_for` in plain.py: an allocation that fails inside the codec ends the process. Below 48 KiB nothing is asked
   for, which would take a twentieth of the time. */
static int has_memory(const Walk *walk) {
    Py_ssize_t bytes = walk->judge->unread_bytes - walk->left + walk->beyond;
    if (bytes < 1024 && walk->widest < 64) return 1;
    void *room = PyMem_RawMalloc(4096 + 24 * (size_t)bytes + 288 * (size_t)walk->widest);
    PyMem_RawFree(room);
    return room != NULL;
}

/* The JSON of what was walked; `forms` is NULL, or has what stands for objects that the codec does not know. */
static PyObject *dumped(const Walk *walk, PyObject *value, PyObject *options, PyObject *forms) {
    if (!has_memory(walk)) return PyErr_NoMemory();
    PyObject *form_of = forms == NULL ? Py_NewRef(Py_None) : PyCFunction_New(&form_at_definition, forms);
    if (form_of == NULL) return NULL;
    PyObject *arguments[] = {value, form_of, options};
    PyObject *raw = PyObject_Vectorcall(walk->judge->dumps, arguments, 3, NULL);
    Py_DECREF(form_of);
    if (raw != NULL && !PyBytes_CheckExact(raw)) {
        PyErr_SetString(PyExc_TypeError, "the codec gave no bytes");
        Py_CLEAR(raw);
    }
    return raw;
}

static int walk_payload(Walk *walk, PyObject *payload) {
    PyObject *key, *item;
    Py_ssize_t at = 0;
    note_width(walk, 2 * PyDict_GET_SIZE(payload));
    while (PyDict_Next(payload, &at, &key, &item)) {
        if (Py_TYPE(key) != &PyUnicode_Type) return 0;
        Place place = {NULL, key, 0};
        int answer = walk_value(walk, item, &place, 0);
        if (answer != 1) return answer;
    }
    return 1;
}

/* ---- the methods ---- */

/* Clear the exception, if any, and return 0; -1 with it where it belongs to the program: it is no `Exception`, or a
   handler of a signal raised it. */
static int cleared(void) {
    PyObject *kind, *error, *traceback;
    if (!PyErr_Occurred()) return 0;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyErr_Fetch(&kind, &error, &traceback);
    if (traceback != NULL) { /* without one, it was raised in C */
        PyErr_NormalizeException(&kind, &error, &traceback);
        PyException_SetTraceback(error, traceback);
        PyObject *module = PyImport_ImportModule("Agent.event.limits_of_time");
        PyObject *answer = module == NULL ? NULL : PyObject_CallMethod(module, "is_of_signal", "O", error);
        int is_of_signal = answer == Py_True;
        Py_XDECREF(module);
        Py_XDECREF(answer);
        PyErr_Clear();
        if (is_of_signal) return PyErr_Restore(kind, error, traceback), -1;
    }
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return 0;
}

/* None in the place of an exception that says no more than: take the careful way. */
static PyObject *mark(PyObject *module, PyObject *const *given, Py_ssize_t count);

static PyObject *left_to_python(void) {
    if (cleared() < 0) return NULL;
    Py_RETURN_NONE;
}

/* 1 where the JSON is short and clean enough, 0 where not, -1 with an exception. */
static int may_stand(Judge *judge, PyObject *raw, int named) {
    if (raw == NULL) return -1;
    if (PyBytes_GET_SIZE(raw) > judge->unread_bytes) return 0;
    return judge->looks_clean == Py_None ? 1 : is_clean(judge, raw, named);
}

static PyObject *judge_line_end(Judge *judge, PyObject *payload) {
    if (!PyDict_CheckExact(payload)) Py_RETURN_NONE;
    Walk walk = {judge, NULL, NULL, judge->unread_bytes, 0, NULL};
    if (walk_payload(&walk, payload) != 1) return left_to_python();
    PyObject *raw = dumped(&walk, payload, judge->options, NULL), *end = NULL;
    if (may_stand(judge, raw, walk.named) == 1) {
        Py_ssize_t size = PyBytes_GET_SIZE(raw) - 1;
        end = PyBytes_FromStringAndSize(NULL, size + 2);
        if (end != NULL) {
            memcpy(PyBytes_AS_STRING(end), PyBytes_AS_STRING(raw) + 1, (size_t)size);
            memcpy(PyBytes_AS_STRING(end) + size, "}\n", 2);
        }
    }
    Py_XDECREF(raw);
    return end != NULL ? end : left_to_python();
}

static PyObject *judge_value(Judge *judge, PyObject *value) {
    if (value == Py_None && judge->unread_bytes >= PyBytes_GET_SIZE(JSON_NULL)) return Py_NewRef(JSON_NULL); /* what most actions give */
    Walk walk = {judge, NULL, NULL, judge->unread_bytes, 0, NULL};
    if (walk_value(&walk, value, NULL, 0) != 1) return left_to_python();
    PyObject *raw = dumped(&walk, value, judge->options, NULL);
    if (raw != NULL && PyBytes_GET_SIZE(raw) <= judge->unread_bytes) return raw;
    Py_XDECREF(raw);
    return left_to_python();
}

static int same_objects(PyObject *some, PyObject *others) {
    if (others == NULL || PyList_GET_SIZE(some) != PyList_GET_SIZE(others)) return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(some); i++)
        if (PyList_GET_ITEM(some, i) != PyList_GET_ITEM(others, i)) return 0;
    return 1;
}

/* Ask what stands for the objects that were met, then walk once more: meanwhile other code may have run. */
static int with_forms(Walk *walk, PyObject *payload, PyObject **forms) {
    *forms = forms_of(walk);
    if (*forms == NULL) return PyErr_Occurred() ? -1 : 0;
    Walk again = {walk->judge, walk->pointer, NULL, walk->judge->unread_bytes, 1, NULL, walk->given, 0, 0, walk->below};
    int answer = walk_payload(&again, payload);
    if (answer == 1 && !same_objects(walk->objects, again.objects)) answer = 0;
    Py_XSETREF(walk->types, again.types);
    Py_XDECREF(again.objects);
    walk->named = 1; /* the texts in the forms were not looked at */
    return answer;
}

/* The JSON of a payload, with the tags of what JSON cannot hold (NULL if there is none); NULL where it needs another look,
   perhaps with an exception. */
static PyObject *tagged_json(Judge *judge, PyObject *payload, PyObject *pointer, PyObject *given, int below, PyObject **types) {
    Walk walk = {judge, pointer, NULL, judge->unread_bytes, 0, NULL, given, 0, 0, below};
    PyObject *raw = NULL, *forms = NULL;
    int answer = walk_payload(&walk, payload);
    if (answer == 1 && walk.objects != NULL) answer = with_forms(&walk, payload, &forms);
    if (answer == 1) {
        raw = dumped(&walk, payload, walk.types == NULL ? judge->options : judge->tag_options, forms);
        if (may_stand(judge, raw, walk.named) != 1) Py_CLEAR(raw);
    }
    *types = raw == NULL ? NULL : Py_XNewRef(walk.types);
    Py_XDECREF(forms);
    Py_XDECREF(walk.types);
    Py_XDECREF(walk.objects);
    return raw;
}

static PyObject *judge_tagged(Judge *judge, PyObject *const *arguments, Py_ssize_t count) {
    if (count < 2 || count > 4 || !PyUnicode_CheckExact(arguments[1]) || (count > 2 && !PyDict_CheckExact(arguments[2]))) {
        PyErr_SetString(PyExc_TypeError, "tagged(payload, pointer, forms, below)");
        return NULL;
    }
    int below = count == 4 ? (int)PyLong_AsLong(arguments[3]) : 0;
    if (PyErr_Occurred()) return NULL;
    if (!PyDict_CheckExact(arguments[0])) Py_RETURN_NONE;
    PyObject *types, *result = NULL;
    PyObject *raw = tagged_json(judge, arguments[0], arguments[1], count > 2 ? arguments[2] : NULL, below, &types);
    if (raw != NULL) result = PyTuple_Pack(2, raw, types == NULL ? Py_None : types);
    Py_XDECREF(raw);
    Py_XDECREF(types);
    return result != NULL ? result : left_to_python();
}

static PyObject *judge_clean(Judge *judge, PyObject *raw) {
    if (!PyBytes_CheckExact(raw)) {
        PyErr_SetString(PyExc_TypeError, "clean(bytes)");
        return NULL;
    }
    int clean = judge->looks_clean == Py_None ? 1 : is_clean(judge, raw, 1);
    return clean < 0 ? NULL : PyBool_FromLong(clean);
}

/* The literals, which come ordered by the letter by which they are looked up, the first or the last. */
static int take_literals(Literals *literals, PyObject *given, int by_last) {
    literals->owner = PySequence_Tuple(given);
    if (literals->owner == NULL) return -1;
    literals->count = PyTuple_GET_SIZE(literals->owner);
    literals->items = PyMem_Calloc((size_t)literals->count + 1, sizeof(Literal));
    if (literals->items == NULL) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < literals->count; i++) {
        PyObject *one = PyTuple_GET_ITEM(literals->owner, i);
        if (!PyBytes_CheckExact(one) || PyBytes_GET_SIZE(one) < 1) {
            PyErr_SetString(PyExc_TypeError, "literals are bytes, none of them empty");
            return -1;
        }
        literals->items[i] = (Literal){PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one)};
        unsigned char letter = (unsigned char)literals->items[i].bytes[by_last ? literals->items[i].size - 1 : 0];
        if (literals->end[letter] == 0) literals->begin[letter] = i;
        else if (literals->end[letter] != i) {
            PyErr_SetString(PyExc_ValueError, "literals are ordered by their letter");
            return -1;
        }
        literals->end[letter] = i + 1;
    }
    return 0;
}

/* Note that a text may end like this; what stands before one or two letters may be any. */
static void note_ending(Judge *judge, const unsigned char *begin, const unsigned char *past) {
    Py_ssize_t size = past - begin;
    judge->may_be_last[past[-1]] = 1;
    if (past[-1] >= 'a' && past[-1] <= 'z') judge->may_be_last[past[-1] - 32] = 1;
    if (size >= 5) {
        unsigned at = long_ending(past);
        judge->long_ends[at >> 3] |= (unsigned char)(1 << (at & 7));
        return;
    }
    for (unsigned before = 0; before < (size > 2 ? 1 : size > 1 ? 32 : 1024); before++) {
        unsigned char letters[] = {size > 2 ? past[-3] : (unsigned char)(before & 31),
                                   size > 1 ? past[-2] : (unsigned char)(before >> 5), past[-1]};
        unsigned at = short_ending(letters + 3);
        judge->short_ends[at >> 3] |= (unsigned char)(1 << (at & 7));
    }
}

/* Note how these words end, for `may_end_name`. */
static void note_endings(Judge *judge, const Literals *words) {
    for (Py_ssize_t i = 0; i < words->count; i++) {
        const unsigned char *begin = (const unsigned char *)words->items[i].bytes, *past = begin + words->items[i].size;
        note_ending(judge, begin, past);
        /* `may_name` is asked about a text without the quote before it */
        if (*begin == '"' && past - begin > 1) note_ending(judge, begin + 1, past);
    }
}

static int judge_init(Judge *judge, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"known_keys", "number_keys", "dumps", "looks_clean", "options", "tag_options", "unread_bytes",
                            "prefixes", "heads", "near_names", "name_ends", "suffixes", "inner_names", "other_scripts",
                            "saying", "openers", "form_of", NULL};
    PyObject *keys, *number_keys, *dumps, *looks_clean, *options, *tag_options, *prefixes, *heads, *near_names, *name_ends;
    PyObject *suffixes, *inner_names, *other_scripts, *saying, *openers;
    PyObject *form_of = Py_None;
    Py_ssize_t unread_bytes;
    if (judge->dumps != NULL) {
        PyErr_SetString(PyExc_TypeError, "a judge is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!OOOOnOOOOOOOOO|O", names, &PySet_Type, &keys, &PyDict_Type, &number_keys, &dumps, &looks_clean,
                                     &options, &tag_options, &unread_bytes, &prefixes, &heads, &near_names, &name_ends,
                                     &suffixes, &inner_names, &other_scripts, &saying, &openers, &form_of))
        return -1;
    judge->known_keys = Py_NewRef(keys);
    judge->number_keys = Py_NewRef(number_keys);
    judge->dumps = Py_NewRef(dumps);
    judge->looks_clean = Py_NewRef(looks_clean);
    judge->options = Py_NewRef(options);
    judge->tag_options = Py_NewRef(tag_options);
    judge->form_of = form_of == Py_None ? NULL : Py_NewRef(form_of);
    judge->unread_bytes = unread_bytes;
    if (take_literals(&judge->prefixes, prefixes, 0) < 0 || take_literals(&judge->heads, heads, 1) < 0) return -1;
    if (take_literals(&judge->near_names, near_names, 0) < 0 || take_literals(&judge->name_ends, name_ends, 1) < 0) return -1;
    if (take_literals(&judge->suffixes, suffixes, 1) < 0 || take_literals(&judge->inner_names, inner_names, 0) < 0) return -1;
    if (take_literals(&judge->other_scripts, other_scripts, 0) < 0 || take_literals(&judge->saying, saying, 0) < 0) return -1;
    if (take_literals(&judge->openers, openers, 1) < 0) return -1;
    for (Py_ssize_t i = 0; i < judge->openers.count; i++)
        judge->may_open[last_two(judge->openers.items[i].bytes + judge->openers.items[i].size)] = 1;
    memcpy(judge->may_be_last, IS_BETWEEN, sizeof IS_BETWEEN);
    note_endings(judge, &judge->name_ends);
    note_endings(judge, &judge->suffixes);
    return 0;
}

/* What the form of an object is made by may hold the redactor, and that the judge. */
static int judge_traverse(Judge *judge, visitproc visit, void *arg) {
    Py_VISIT(judge->form_of);
    return 0;
}

static int judge_clear(Judge *judge) {
    Py_CLEAR(judge->form_of);
    return 0;
}

static void judge_dealloc(Judge *judge) {
    PyObject_GC_UnTrack(judge);
    judge_clear(judge);
    Py_CLEAR(judge->known_keys);
    Py_CLEAR(judge->number_keys);
    Py_CLEAR(judge->dumps);
    Py_CLEAR(judge->looks_clean);
    Py_CLEAR(judge->options);
    Py_CLEAR(judge->tag_options);
    Py_CLEAR(judge->uuid_type);
    Py_CLEAR(judge->uuid_unknown);
    Literals *all[] = {&judge->prefixes, &judge->heads, &judge->near_names, &judge->name_ends,
                       &judge->suffixes, &judge->inner_names, &judge->other_scripts, &judge->saying, &judge->openers};
    for (int i = 0; i < 9; i++) {
        PyMem_Free(all[i]->items);
        Py_CLEAR(all[i]->owner);
    }
    Py_TYPE(judge)->tp_free((PyObject *)judge);
}

static PyObject *judge_stays(Judge *judge, PyObject *const *arguments, Py_ssize_t count);
static PyObject *judge_noted(Judge *judge, PyObject *const *arguments, Py_ssize_t count);

static PyMethodDef judge_methods[] = {
    {"line_end", (PyCFunction)judge_line_end, METH_O, "The end of the line of a plain, known, clean payload, else None."},
    {"value", (PyCFunction)judge_value, METH_O, "The JSON of a plain value with known keys, else None; not swept."},
    {"tagged", (PyCFunction)(void (*)(void))judge_tagged, METH_FASTCALL,
     "(JSON, tags or None) of a payload with times, UUIDs, tuples and objects among plain values, else None."},
    {"clean", (PyCFunction)judge_clean, METH_O, "Whether no byte can belong to the shape of a secret."},
    {"stays", (PyCFunction)(void (*)(void))judge_stays, METH_FASTCALL, "Whether JSON has only known keys and no secret."},
    {"noted", (PyCFunction)(void (*)(void))judge_noted, METH_FASTCALL,
     "(Inner JSON, tags or None) of the last known fields of an agent that is gone, else None."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject judge_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Agent.record.encode._native.Judge",
    .tp_doc = "Judges payloads for one pipeline.",
    .tp_basicsize = sizeof(Judge),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)judge_traverse,
    .tp_clear = (inquiry)judge_clear,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)judge_init,
    .tp_dealloc = (destructor)judge_dealloc,
    .tp_methods = judge_methods,
};

/* ---- the state of an agent ---- */

static int is_scalar(PyTypeObject *kind) {
    return kind == &PyUnicode_Type || kind == &PyLong_Type || kind == &PyFloat_Type || kind == &PyBool_Type;
}

static int is_same_float(double one, double other) {
    return memcmp(&one, &other, sizeof one) == 0 || (isnan(one) && isnan(other));
}

/* Whether an attribute is known: a scalar that is in `last`, or of a type that is ignored there. -1: an error. */
static int is_as_before(PyObject *key, PyObject *value, PyObject *last, PyObject *ignored, Py_ssize_t *met) {
    if (!PyUnicode_CheckExact(key)) return 0;
    PyObject *before = PyDict_GetItemWithError(last, key);
    *met += before != NULL;
    if (before == value && (value == Py_None || is_scalar(Py_TYPE(value)))) return 1;
    if (before != NULL && Py_TYPE(before) == Py_TYPE(value) && is_scalar(Py_TYPE(value))) {
        /* of the other three types the comparison runs no code of others */
        int same = PyFloat_CheckExact(value) ? is_same_float(PyFloat_AS_DOUBLE(before), PyFloat_AS_DOUBLE(value))
                                             : PyObject_RichCompareBool(before, value, Py_EQ);
        if (same != 0) return same;
    }
    return PyDict_GetItemWithError(ignored, key) == (PyObject *)Py_TYPE(value);
}

/* differing(present, last, ignored): the items of `present` that are neither the scalars of `last` nor ignored;
   None where there are none and no name of `last` is gone. */
static PyObject *differing(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyDict_Check(arguments[0]) || !PyDict_Check(arguments[1]) || !PyDict_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "differing(present, last, ignored) takes three dicts");
        return NULL;
    }
    PyObject *key, *value, *found = PyList_New(0);
    Py_ssize_t at = 0, met = 0;
    while (found != NULL && PyDict_Next(arguments[0], &at, &key, &value)) {
        int known = is_as_before(key, value, arguments[1], arguments[2], &met);
        if (known < 0) return Py_DECREF(found), NULL;
        if (known) continue;
        PyObject *item = PyTuple_Pack(2, key, value);
        if (item == NULL || PyList_Append(found, item) < 0) Py_CLEAR(found);
        Py_XDECREF(item);
    }
    if (found == NULL || PyList_GET_SIZE(found) > 0 || met < PyDict_GET_SIZE(arguments[1])) return found;
    Py_DECREF(found);
    Py_RETURN_NONE;
}

/* ---- arguments that may change ---- */

enum { MAX_HELD = 512 };

typedef struct {
    PyObject **items;
    Py_ssize_t count;
} Held;

/* Meet a container, all that is in it, and its end, in an order that says which stands where. With `are_taken` they are
   written down, else compared with what was. 0 where something differs, or is too large or too deep. */
static int meet(Held *held, PyObject *value, Py_ssize_t *at, int are_taken, int depth);

static int meet_one(Held *held, PyObject *value, Py_ssize_t *at, int are_taken) {
    if (*at >= held->count) return 0;
    if (are_taken) held->items[*at] = value;
    else if (held->items[*at] != value) return 0;
    ++*at;
    return 1;
}

static int meet_item(Held *held, PyObject *item, Py_ssize_t *at, int are_taken, int depth) {
    if (PyDict_CheckExact(item) || PyList_CheckExact(item)) return meet(held, item, at, are_taken, depth);
    return meet_one(held, item, at, are_taken);
}

static int meet(Held *held, PyObject *value, Py_ssize_t *at, int are_taken, int depth) {
    if (depth > MAX_DEPTH || !meet_one(held, value, at, are_taken)) return 0;
    if (PyDict_CheckExact(value)) {
        PyObject *key, *item;
        Py_ssize_t place = 0;
        while (PyDict_Next(value, &place, &key, &item))
            if (!meet_one(held, key, at, are_taken) || !meet_item(held, item, at, are_taken, depth + 1)) return 0;
    } else {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); i++)
            if (!meet_item(held, PyList_GET_ITEM(value, i), at, are_taken, depth + 1)) return 0;
    }
    return meet_one(held, value, at, are_taken);
}

/* All objects in a dict, kept alive; () where they are too many. */
static PyObject *taken(PyObject *arguments) {
    PyObject *found[MAX_HELD];
    Held all = {found, MAX_HELD};
    Py_ssize_t at = 0;
    if (!meet(&all, arguments, &at, 1, 0)) return PyTuple_New(0);
    /* before anything is allocated, since that may collect garbage, and so run any code */
    for (Py_ssize_t i = 0; i < at; i++) Py_INCREF(found[i]);
    PyObject *kept = PyTuple_New(at);
    for (Py_ssize_t i = 0; i < at; i++) {
        if (kept == NULL) Py_DECREF(found[i]);
        else PyTuple_SET_ITEM(kept, i, found[i]);
    }
    return kept;
}

/* held(arguments): all objects in a dict of plain values, kept alive, by which `still_holds` knows them again. None where
   no value is a container, so that nothing in them can change; () where they are too many. */
static PyObject *held(PyObject *Py_UNUSED(module), PyObject *arguments) {
    if (!PyDict_CheckExact(arguments)) {
        PyErr_SetString(PyExc_TypeError, "held(arguments) takes a dict");
        return NULL;
    }
    PyObject *key, *item;
    Py_ssize_t at = 0;
    int can_change = 0;
    while (!can_change && PyDict_Next(arguments, &at, &key, &item))
        can_change = PyDict_CheckExact(item) || PyList_CheckExact(item);
    if (!can_change) Py_RETURN_NONE;
    return taken(arguments);
}

enum { MOST_TEXT_SHOWN = 200 }; /* `TEXT_CHARS` of `opaque.py` */

/* are_few_scalars(attributes): whether each is a short scalar under a name of text that nothing treats apart. */
static PyObject *are_few_scalars(PyObject *Py_UNUSED(module), PyObject *attributes) {
    PyObject *name, *value;
    Py_ssize_t at = 0;
    if (!PyDict_CheckExact(attributes)) Py_RETURN_FALSE;
    while (PyDict_Next(attributes, &at, &name, &value)) {
        int fits = PyUnicode_CheckExact(name) && PyUnicode_CompareWithASCIIString(name, "__module__") != 0
                   && PyUnicode_CompareWithASCIIString(name, "_name_") != 0;
        if (!fits) Py_RETURN_FALSE;
        if (PyUnicode_CheckExact(value)) {
            fits = PyUnicode_GET_LENGTH(value) <= MOST_TEXT_SHOWN;
        } else if (PyLong_CheckExact(value)) {
            int overflow = 0;
            long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
            fits = overflow == 0 && number != LLONG_MIN;
        } else if (PyFloat_CheckExact(value)) {
            fits = isfinite(PyFloat_AS_DOUBLE(value));
        } else {
            fits = PyBool_Check(value) || value == Py_None;
        }
        if (!fits) Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* still_holds(arguments, held): whether they hold the very objects that they held; of plain ones none but containers can
   change, and of these each item is looked at. */
static PyObject *still_holds(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyDict_CheckExact(arguments[0]) || !PyTuple_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "still_holds(arguments, held) takes a dict and a tuple");
        return NULL;
    }
    Held all = {((PyTupleObject *)arguments[1])->ob_item, PyTuple_GET_SIZE(arguments[1])};
    Py_ssize_t at = 0;
    return PyBool_FromLong(meet(&all, arguments[0], &at, 0, 0) && at == all.count);
}

/* How many members a container and those in it have, each container counting as one more; 0 for any other value. */
static Py_ssize_t members_of(PyObject *value, int depth) {
    PyTypeObject *kind = Py_TYPE(value);
    Py_ssize_t found = 1;
    if (depth > MAX_DEPTH) return 0;
    if (kind == &PyDict_Type) {
        PyObject *key, *item;
        for (Py_ssize_t place = 0; PyDict_Next(value, &place, &key, &item);) found += 1 + members_of(item, depth + 1);
    } else if (kind == &PyList_Type || kind == &PyTuple_Type) {
        PyObject **items = PySequence_Fast_ITEMS(value);
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++) found += 1 + members_of(items[i], depth + 1);
    } else if (kind == &PySet_Type || kind == &PyFrozenSet_Type) {
        found += PySet_GET_SIZE(value);
    } else if (strcmp(kind->tp_name, "collections.deque") == 0) {
        found += Py_SIZE(value);
    } else {
        return 0;
    }
    return found;
}

static PyObject *count_members(PyObject *Py_UNUSED(module), PyObject *value) {
    return PyLong_FromSsize_t(members_of(value, 0));
}

/* The words of a `random.Random` as CPython keeps them; `Agent/record/state/held_objects.py` tries whether it does. */
typedef struct {
    PyObject_HEAD
    int index;
    uint32_t words[624];
} Twister;

/* NULL, without an error, where the type has not the layout of `random.Random`. */
static Twister *twister_of(PyObject *generator) {
    PyTypeObject *kind = Py_TYPE(generator);
    while (kind->tp_base != NULL && kind->tp_base != &PyBaseObject_Type) kind = kind->tp_base;
    int is_one = strcmp(kind->tp_name, "_random.Random") == 0 && kind->tp_basicsize >= (Py_ssize_t)sizeof(Twister);
    return is_one ? (Twister *)generator : NULL;
}

/* random_mark(generator): (first word, place of the next) of an object whose type has the layout of `random.Random`. */
static PyObject *random_mark(PyObject *Py_UNUSED(module), PyObject *generator) {
    Twister *twister = twister_of(generator);
    if (twister == NULL) Py_RETURN_NONE;
    return Py_BuildValue("(ki)", (unsigned long)twister->words[0], twister->index);
}

/* random_words(generator): (all words as bytes, place of the next) of such an object. */
static PyObject *random_words(PyObject *Py_UNUSED(module), PyObject *generator) {
    Twister *twister = twister_of(generator);
    if (twister == NULL) Py_RETURN_NONE;
    return Py_BuildValue("(y#i)", (const char *)twister->words, (Py_ssize_t)sizeof twister->words, twister->index);
}

/* words_text(words): the words that `random_words` gave, in decimal, with commas and spaces between them. */
static PyObject *words_text(PyObject *Py_UNUSED(module), PyObject *words) {
    enum { DIGITS = 10 };
    if (!PyBytes_Check(words) || PyBytes_GET_SIZE(words) % (Py_ssize_t)sizeof(uint32_t) != 0)
        return PyErr_SetString(PyExc_TypeError, "words_text(words) takes bytes of whole words"), NULL;
    Py_ssize_t count = PyBytes_GET_SIZE(words) / (Py_ssize_t)sizeof(uint32_t);
    PyObject *text = PyBytes_FromStringAndSize(NULL, count * (DIGITS + 2));
    if (text == NULL) return NULL;
    char *begin = PyBytes_AS_STRING(text), *at = begin;
    for (Py_ssize_t i = 0; i < count; i++) {
        char digits[DIGITS];
        int size = 0;
        uint32_t word;
        memcpy(&word, PyBytes_AS_STRING(words) + i * (Py_ssize_t)sizeof word, sizeof word);
        do digits[size++] = (char)('0' + word % 10);
        while ((word /= 10) != 0);
        if (i > 0) *at++ = ',', *at++ = ' ';
        while (size > 0) *at++ = digits[--size];
    }
    return _PyBytes_Resize(&text, at - begin) < 0 ? NULL : text;
}

/* perhaps(values, kinds): the items of a dict but those of types for which `kinds`, {type: bool}, says False. */
static PyObject *perhaps(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyDict_Check(given[0]) || !PyDict_CheckExact(given[1]))
        return PyErr_SetString(PyExc_TypeError, "perhaps(values, kinds) takes two dicts"), NULL;
    PyObject *found = PyList_New(0), *key, *value;
    for (Py_ssize_t at = 0; found != NULL && PyDict_Next(given[0], &at, &key, &value);) {
        PyTypeObject *kind = Py_TYPE(value);
        /* to look for a class of another metaclass may run any code */
        if (Py_IS_TYPE(kind, &PyType_Type) && PyDict_GetItemWithError(given[1], (PyObject *)kind) == Py_False) continue;
        PyObject *item = PyErr_Occurred() ? NULL : PyTuple_Pack(2, key, value);
        if (item == NULL || PyList_Append(found, item) < 0) Py_CLEAR(found);
        Py_XDECREF(item);
    }
    return found;
}

/* Whether an object is of one of the classes that are the keys of `kinds`; -1 with an exception. */
static int is_of_any(PyObject *object, PyObject *kinds) {
    /* to look for a class of another metaclass may run any code */
    return Py_IS_TYPE(Py_TYPE(object), &PyType_Type) ? PyDict_Contains(kinds, (PyObject *)Py_TYPE(object)) : 0;
}

/* holds_any(value, kinds): whether a dict, list or tuple holds an object of one of these classes itself, perhaps as a key. */
static PyObject *holds_any(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyDict_CheckExact(given[1])) return PyErr_SetString(PyExc_TypeError, "holds_any(value, kinds) takes a dict"), NULL;
    int found = 0;
    if (PyDict_GET_SIZE(given[1]) == 0) Py_RETURN_FALSE;
    if (PyDict_CheckExact(given[0])) {
        PyObject *key, *value;
        for (Py_ssize_t at = 0; found == 0 && PyDict_Next(given[0], &at, &key, &value);)
            if ((found = is_of_any(value, given[1])) == 0) found = is_of_any(key, given[1]);
    } else if (PyList_CheckExact(given[0]) || PyTuple_CheckExact(given[0])) {
        for (Py_ssize_t at = 0; found == 0 && at < PySequence_Fast_GET_SIZE(given[0]); at++)
            found = is_of_any(PySequence_Fast_GET_ITEM(given[0], at), given[1]);
    }
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* holds_none(attributes, perhaps, never): whether surely no value of a dict is followed: its type is ruled out by `perhaps`,
   {type: bool}, or it holds an object of one of the classes in `never`. */
static PyObject *holds_none(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 3 || !PyDict_CheckExact(given[0]) || !PyDict_CheckExact(given[1]) || !PyDict_CheckExact(given[2]))
        return PyErr_SetString(PyExc_TypeError, "holds_none(attributes, perhaps, never) takes dicts"), NULL;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(given[0], &at, &key, &value);) {
        PyTypeObject *kind = Py_TYPE(value);
        PyObject *found = Py_IS_TYPE(kind, &PyType_Type) ? PyDict_GetItemWithError(given[1], (PyObject *)kind) : NULL;
        if (found == Py_False) continue;
        PyObject *inside[] = {value, given[2]};
        PyObject *answer = found == NULL ? NULL : holds_any(NULL, inside, 2);
        if (answer == NULL && PyErr_Occurred()) return NULL;
        Py_XDECREF(answer);
        if (answer != Py_True) Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* Whether `text` is exactly a str that UTF-8 can encode; -1 with an exception. */
static int is_encodable(PyObject *text) {
    if (!PyUnicode_CheckExact(text)) return 0;
    if (PyUnicode_IS_ASCII(text)) return 1;
    PyObject *encoded = PyUnicode_AsUTF8String(text);
    if (encoded == NULL && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return -1;
    if (encoded == NULL) return PyErr_Clear(), 0; /* a lone surrogate */
    Py_DECREF(encoded);
    return 1;
}

/* shown(attributes, most, most_chars): those of a dict that `opaque.describe` shows of an object. */
static PyObject *shown(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 3 || !PyDict_CheckExact(given[0]) || !PyLong_Check(given[1]) || !PyLong_Check(given[2]))
        return PyErr_SetString(PyExc_TypeError, "shown(attributes, most, most_chars)"), NULL;
    Py_ssize_t most = PyLong_AsSsize_t(given[1]), most_chars = PyLong_AsSsize_t(given[2]);
    PyObject *found = PyDict_New(), *name, *value;
    for (Py_ssize_t at = 0; found != NULL && PyDict_Next(given[0], &at, &name, &value);) {
        PyTypeObject *kind = Py_TYPE(value);
        int is_shown = 0;
        if (kind == &PyLong_Type) {
            int overflow;
            long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
            is_shown = !overflow && number != LLONG_MIN;
        } else if (kind == &PyBool_Type || value == Py_None) is_shown = 1;
        else if (kind == &PyFloat_Type) is_shown = isfinite(PyFloat_AS_DOUBLE(value));
        else if (kind == &PyUnicode_Type) is_shown = PyUnicode_GET_LENGTH(value) <= most_chars ? is_encodable(value) : 0;
        else continue;
        if (PyDict_GET_SIZE(found) == most) break;
        if (is_shown > 0) is_shown = is_encodable(name);
        if (is_shown > 0) is_shown = PyUnicode_GET_LENGTH(name) <= most_chars;
        if (is_shown < 0 || (is_shown > 0 && PyDict_SetItem(found, name, value) < 0)) Py_CLEAR(found);
    }
    return found;
}

/* in_slots(value, slots): {name: value} of slots, ((name, member), ...), without those that were never filled. */
static PyObject *in_slots(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyTuple_CheckExact(given[1])) return PyErr_SetString(PyExc_TypeError, "in_slots(value, slots)"), NULL;
    PyObject *found = PyDict_New();
    for (Py_ssize_t i = 0; found != NULL && i < PyTuple_GET_SIZE(given[1]); i++) {
        PyObject *pair = PyTuple_GET_ITEM(given[1], i);
        if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2 || !Py_IS_TYPE(PyTuple_GET_ITEM(pair, 1), &PyMemberDescr_Type)) {
            PyErr_SetString(PyExc_TypeError, "slots are pairs of a name and a member");
            Py_CLEAR(found);
            break;
        }
        PyObject *member = PyTuple_GET_ITEM(pair, 1);
        PyObject *value = PyMemberDescr_Type.tp_descr_get(member, given[0], (PyObject *)Py_TYPE(given[0]));
        if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
        else if (value == NULL || PyDict_SetItem(found, PyTuple_GET_ITEM(pair, 0), value) < 0) Py_CLEAR(found);
        Py_XDECREF(value);
    }
    return found;
}

static PyObject *attribute_of(PyObject *object, PyObject *name);

/* attributes_named(value, names): {name: value} of those attributes that the value has. */
static PyObject *attributes_named(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyTuple_CheckExact(given[1])) return PyErr_SetString(PyExc_TypeError, "attributes_named(value, names)"), NULL;
    PyObject *found = PyDict_New();
    for (Py_ssize_t i = 0; found != NULL && i < PyTuple_GET_SIZE(given[1]); i++) {
        PyObject *name = PyTuple_GET_ITEM(given[1], i), *value = attribute_of(given[0], name);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
        else if (value == NULL || PyDict_SetItem(found, name, value) < 0) Py_CLEAR(found);
        Py_XDECREF(value);
    }
    return found;
}

/* class_version(cls): a number that no other set of attributes of the class has; 0 where there is none. */
static PyObject *class_version(PyObject *Py_UNUSED(module), PyObject *cls) {
    unsigned long version = 0;
    if (PyType_Check(cls)) version = ((PyTypeObject *)cls)->tp_version_tag;
#if PY_VERSION_HEX < 0x030D0000
    if (version != 0 && !PyType_HasFeature((PyTypeObject *)cls, Py_TPFLAGS_VALID_VERSION_TAG)) version = 0;
#endif
    return PyLong_FromUnsignedLong(version);
}

/* ---- values that are what they were ---- */

enum { MAX_TYPES = 1024 };
static PyObject *JUDGE_TYPE;
static uint64_t MARKS_SINCE; /* how often it was forgotten what was known of classes */
static PyTypeObject *ENUM_TYPE;
static PyObject *UNCHANGING;     /* {type: whether its objects stay what they are}, as Python said when it was asked */
static PyTypeObject *UNKNOWN_TYPE; /* the last one that was met and is not among them; borrowed, asked about at once */

static int is_unchanging(PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    if (is_scalar(kind) || value == Py_None || kind == &PyBytes_Type || kind == &PyComplex_Type) return 1;
    if (PyDateTime_CheckExact(value)) {
        PyObject *zone = PyDateTime_DATE_GET_TZINFO(value);
        return zone == Py_None || zone == PyDateTime_TimeZone_UTC;
    }
    if (kind->tp_flags & Py_TPFLAGS_HEAPTYPE && !Py_IS_TYPE(kind, &PyType_Type) && !Py_IS_TYPE(kind, ENUM_TYPE)) return 0;
    PyObject *known = PyDict_GetItemWithError(UNCHANGING, (PyObject *)kind);
    if (known == NULL) UNKNOWN_TYPE = kind;
    return known == Py_True;
}

/* As `meet`, of values of more types; the objects in them must be of types whose objects stay what they are. */
static int meet_any(Held *held, PyObject *value, Py_ssize_t *at, int are_taken, int depth) {
    if (depth > MAX_DEPTH || !meet_one(held, value, at, are_taken)) return 0;
    PyTypeObject *kind = Py_TYPE(value);
    if (kind == &PyDict_Type) {
        PyObject *key, *item;
        for (Py_ssize_t place = 0; PyDict_Next(value, &place, &key, &item);)
            if (!meet_any(held, key, at, are_taken, depth + 1) || !meet_any(held, item, at, are_taken, depth + 1)) return 0;
    } else if (kind == &PyList_Type) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); i++)
            if (!meet_any(held, PyList_GET_ITEM(value, i), at, are_taken, depth + 1)) return 0;
    } else if (kind == &PyTuple_Type) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); i++)
            if (!meet_any(held, PyTuple_GET_ITEM(value, i), at, are_taken, depth + 1)) return 0;
    } else if (kind == &PySet_Type || kind == &PyFrozenSet_Type) {
        PyObject *item;
        Py_hash_t hash;
        for (Py_ssize_t place = 0; _PySet_NextEntry(value, &place, &item, &hash);)
            if (!meet_any(held, item, at, are_taken, depth + 1)) return 0;
    } else {
        return !are_taken || is_unchanging(value);
    }
    return meet_one(held, value, at, are_taken);
}

/* Ask Python about the type that was met; 0 if that failed. Only where nothing is walked over, since it may run any code. */
static int ask_about_type(void) {
    PyObject *kind = Py_NewRef((PyObject *)UNKNOWN_TYPE), *answer = PyObject_CallOneArg(JUDGE_TYPE, kind);
    if (PyDict_GET_SIZE(UNCHANGING) >= MAX_TYPES) PyDict_Clear(UNCHANGING);
    int is_kept = answer != NULL && PyDict_SetItem(UNCHANGING, kind, answer) == 0;
    Py_DECREF(kind);
    Py_XDECREF(answer);
    return is_kept;
}

/* snapshot(value): all objects in a value, kept alive, by which it is known to be what it was; None where something in it
   may change unseen, or it is too large. */
static PyObject *snapshot(PyObject *Py_UNUSED(module), PyObject *value) {
    PyObject *found[MAX_HELD];
    Held all = {found, MAX_HELD};
    Py_ssize_t at = 0;
    UNKNOWN_TYPE = NULL;
    while (!meet_any(&all, value, &at, 1, 0)) {
        if (UNKNOWN_TYPE == NULL || JUDGE_TYPE == NULL || !ask_about_type()) return left_to_python();
        UNKNOWN_TYPE = NULL;
        at = 0;
    }
    for (Py_ssize_t i = 0; i < at; i++) Py_INCREF(found[i]);
    PyObject *kept = PyTuple_New(at);
    for (Py_ssize_t i = 0; i < at; i++) {
        if (kept == NULL) Py_DECREF(found[i]);
        else PyTuple_SET_ITEM(kept, i, found[i]);
    }
    return kept;
}

/* still_is(value, snapshot): whether it holds the very objects that it held then. */
static PyObject *still_is(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyTuple_CheckExact(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "still_is(value, snapshot)");
        return NULL;
    }
    Held all = {((PyTupleObject *)arguments[1])->ob_item, PyTuple_GET_SIZE(arguments[1])};
    Py_ssize_t at = 0;
    return PyBool_FromLong(meet_any(&all, arguments[0], &at, 0, 0) && at == all.count);
}

/* judge_types(function, enum_type): who says whether objects of a type stay what they are; asked once a type. */
static PyObject *judge_types(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyType_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "judge_types(function, enum_type)");
        return NULL;
    }
    Py_XSETREF(JUDGE_TYPE, Py_NewRef(arguments[0]));
    Py_XSETREF(ENUM_TYPE, (PyTypeObject *)Py_NewRef(arguments[1]));
    PyDict_Clear(UNCHANGING);
    MARKS_SINCE++;
    Py_RETURN_NONE;
}

/* ---- the line ---- */

static char *put_digits(char *at, unsigned long long number, int width) {
    for (int i = width - 1; i >= 0; i--, number /= 10) at[i] = (char)('0' + number % 10);
    return at + width;
}

static char *put_bytes(char *at, const char *bytes, Py_ssize_t size) {
    memcpy(at, bytes, (size_t)size);
    return at + size;
}

typedef struct {
    const char *bytes;
    Py_ssize_t size;
} Part;

static Part part_of(PyObject *bytes) { return (Part){PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)}; }

static int is_ascii(PyObject *text) { return PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text); }

/* The line that begins with the time and the id, and the id; 0 with an exception. */
static int stamped_line(PyObject *prefix, unsigned long microsecond, PyObject *writer, unsigned long long seq, const Part *parts,
                        int count, PyObject **line, PyObject **identity) {
    static const char between[] = "Z\",\"id\":\"";
    if (!is_ascii(prefix) || !is_ascii(writer)) {
        PyErr_SetString(PyExc_TypeError, "stamped(prefix, microsecond, writer, seq, *parts) takes ASCII texts");
        return 0;
    }
    int seq_width = 1;
    for (unsigned long long rest = seq; rest >= 10; rest /= 10) seq_width++;
    Py_ssize_t writer_size = PyUnicode_GET_LENGTH(writer), id_size = writer_size + 1 + seq_width;
    Py_ssize_t size = PyUnicode_GET_LENGTH(prefix) + 6 + (Py_ssize_t)sizeof between - 1 + id_size;
    for (int i = 0; i < count; i++) size += parts[i].size;
    *identity = PyUnicode_New(id_size, 127);
    *line = PyBytes_FromStringAndSize(NULL, size);
    if (*identity == NULL || *line == NULL) return 0;
    char *id = (char *)PyUnicode_1BYTE_DATA(*identity);
    char *end = put_bytes(id, (const char *)PyUnicode_1BYTE_DATA(writer), writer_size);
    *end++ = '-';
    put_digits(end, seq, seq_width);
    char *at = PyBytes_AS_STRING(*line);
    at = put_bytes(at, (const char *)PyUnicode_1BYTE_DATA(prefix), PyUnicode_GET_LENGTH(prefix));
    at = put_bytes(put_digits(at, microsecond, 6), between, (Py_ssize_t)sizeof between - 1);
    at = put_bytes(at, id, id_size);
    for (int i = 0; i < count; i++) at = put_bytes(at, parts[i].bytes, parts[i].size);
    return 1;
}

enum { MAX_PARTS = 16 };

/* stamped(prefix, microsecond, writer, seq, *parts): the line that begins with the time and the id, and the id. */
static PyObject *stamped(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    Part parts[MAX_PARTS];
    PyObject *line = NULL, *identity = NULL, *both = NULL;
    if (count < 4 || count > 4 + MAX_PARTS) {
        PyErr_SetString(PyExc_TypeError, "stamped(prefix, microsecond, writer, seq, *parts) takes at most 16 parts");
        return NULL;
    }
    unsigned long microsecond = PyLong_AsUnsignedLong(arguments[1]);
    unsigned long long seq = PyLong_AsUnsignedLongLong(arguments[3]);
    if (PyErr_Occurred()) return NULL;
    for (Py_ssize_t i = 4; i < count; i++) {
        if (!PyBytes_Check(arguments[i])) {
            PyErr_SetString(PyExc_TypeError, "the parts of a line are bytes");
            return NULL;
        }
        parts[i - 4] = part_of(arguments[i]);
    }
    if (stamped_line(arguments[0], microsecond, arguments[2], seq, parts, (int)count - 4, &line, &identity))
        both = PyTuple_Pack(2, line, identity);
    Py_XDECREF(line);
    Py_XDECREF(identity);
    return both;
}

#include "_memory.h"
#include "_calls.h"
#include "_outside.h"
#include "_between.h"
#include "_draws.h"
#include "_named.h"
#include "_noted.h"
#include "_scalars.h"
#include "_whole.h"
#include "_marks.h"
#include "_copied.h"
#include "_content.h"

/* ---- agents ---- */

/* What `agent_of` was given: three dicts by class, two of identities, and who says it of all others. */
enum { BY_ATTRIBUTES, BY_OWN_NAME, INHERITED, IDENTITIES, OF_OBJECTS, ASKED };

/* The text of an attribute of an object itself that names it, a new reference; NULL where there is none, with `is_other` for one of
   which Python has to say. */
static PyObject *own_name(PyObject *value, PyObject *own, PyObject *attribute, int *is_other) {
    PyObject *of_class = _PyType_Lookup(Py_TYPE(value), attribute), *held = NULL, *name = NULL;
    if (of_class != NULL && !Py_IS_TYPE(of_class, &PyMemberDescr_Type)) return *is_other = 1, NULL;
    if (of_class == NULL) held = own == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(own, attribute));
    else held = PyObject_GenericGetAttr(value, attribute);
    PyErr_Clear();
    if (held == NULL || held == Py_None) return Py_XDECREF(held), NULL;
    if (PyUnicode_CheckExact(held) && PyUnicode_GET_LENGTH(held) > 0) name = Py_NewRef(held);
    else if (PyLong_CheckExact(held)) name = PyObject_Str(held);
    *is_other = name == NULL;
    Py_DECREF(held);
    return name;
}

/* The name of an object to whose class `instrument` gave an identity, by its own attributes or that of its class, a new reference;
   NULL where Python has to say. */
static PyObject *identified(PyObject *value, PyObject *own, PyObject *identity) {
    if (!PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE) || (own != NULL && PyDict_GetItemWithError(own, W_logger) != NULL)) return NULL;
    PyObject *usual[] = {W_agent_id, W_unique_id, W_id, W_name}, *name = NULL, *given = PyObject_GetAttr(identity, W_agent_id);
    int is_other = given == NULL;
    if (given == Py_None)
        for (size_t at = 0; at < sizeof usual / sizeof *usual && name == NULL && !is_other; at++) name = own_name(value, own, usual[at], &is_other);
    else if (!is_other && PyUnicode_CheckExact(given))
        name = own_name(value, own, given, &is_other);
    PyObject *of_class = ((PyHeapTypeObject *)Py_TYPE(value))->ht_name;
    if (given == Py_None && name == NULL && !is_other && Py_IS_TYPE(Py_TYPE(value), &PyType_Type) && PyUnicode_CheckExact(of_class))
        name = Py_NewRef(of_class);
    Py_XDECREF(given);
    return name;
}

/* None of an object of a class of which attributes alone tell whether its objects are agents, if it has no such attribute and
   nobody gave it an identity; its own `agent_id` if that is a text, of a class whose objects are agents by it; its name, if
   `instrument` gave its class an identity. */
static PyObject *agent_of_one(PyObject *facts, PyObject *value) {
    PyObject *kind = (PyObject *)Py_TYPE(value), *answer = NULL, *identity = Py_None;
    /* where the metaclass hashes and compares as `type` does, the lookup runs no code of others */
    int is_plain = Py_TYPE(kind)->tp_hash == PyType_Type.tp_hash && Py_TYPE(kind)->tp_richcompare == PyType_Type.tp_richcompare
                   && PyDict_GET_SIZE(PyTuple_GET_ITEM(facts, OF_OBJECTS)) == 0;
    if (is_plain && PyDict_GET_SIZE(PyTuple_GET_ITEM(facts, IDENTITIES)) > 0)
        identity = PyDict_GetItemWithError(PyTuple_GET_ITEM(facts, INHERITED), kind);
    int is_by_attributes = is_plain && identity == Py_None && PyDict_GetItemWithError(PyTuple_GET_ITEM(facts, BY_ATTRIBUTES), kind) == Py_True;
    int is_by_name = is_plain && identity != NULL && PyDict_GetItemWithError(PyTuple_GET_ITEM(facts, BY_OWN_NAME), kind) == Py_True;
    PyObject *own = is_by_attributes || is_by_name ? PyObject_GenericGetDict(value, NULL) : NULL;
    int has_own = own != NULL && PyDict_CheckExact(own), has_none = own == NULL && PyErr_ExceptionMatches(PyExc_AttributeError);
    PyErr_Clear();
    if (is_by_name && identity != Py_None && (has_own || has_none)) {
        answer = identified(value, own, identity);
    } else if (has_own) {
        PyObject *name = PyDict_GetItemWithError(own, W_agent_id);
        if (is_by_name && name != NULL && PyUnicode_CheckExact(name)) answer = Py_NewRef(name);
        else if (is_by_attributes && name == NULL && PyDict_GetItemWithError(own, W_logger) == NULL) answer = Py_NewRef(Py_None);
    } else if (has_none && is_by_attributes) {
        answer = Py_NewRef(Py_None); /* its objects have no attributes of their own */
    }
    Py_XDECREF(own);
    PyErr_Clear();
    return answer != NULL ? answer : PyObject_CallOneArg(PyTuple_GET_ITEM(facts, ASKED), value);
}

static PyMethodDef agent_of_definition = {"agent_of", agent_of_one, METH_O, "The id of an agent, None for any other object."};

/* Whether attributes of a class's objects are looked up as of most objects, which runs no code of the class. */
static PyObject *looks_up_plainly(PyObject *Py_UNUSED(module), PyObject *cls) {
    return PyBool_FromLong(PyType_Check(cls) && ((PyTypeObject *)cls)->tp_getattro == PyObject_GenericGetAttr);
}

/* held_by(by_class, agent_of, asked): a function that says whether a value is an object and no agent, as `can_be_held` does, which
   is `asked` where {class: whether all its objects are} does not tell. */
static PyObject *can_be_held(PyObject *facts, PyObject *value) {
    PyTypeObject *kind = Py_TYPE(value);
    /* to look for a class of another metaclass may run any code */
    PyObject *known = Py_IS_TYPE(kind, &PyType_Type) ? PyDict_GetItemWithError(PyTuple_GET_ITEM(facts, 0), (PyObject *)kind) : NULL;
    if (known == NULL && PyErr_Occurred()) return NULL;
    if (known != Py_True) return PyObject_CallOneArg(PyTuple_GET_ITEM(facts, 2), value);
    PyObject *agent = PyObject_CallOneArg(PyTuple_GET_ITEM(facts, 1), value);
    Py_XDECREF(agent);
    return agent == NULL ? NULL : PyBool_FromLong(agent == Py_None);
}

static PyMethodDef can_be_held_definition = {"can_be_held", can_be_held, METH_O, "Whether it is an object that others may change."};

static PyObject *held_by(PyObject *Py_UNUSED(module), PyObject *facts) {
    if (PyTuple_GET_SIZE(facts) == 3 && PyDict_CheckExact(PyTuple_GET_ITEM(facts, 0)))
        return PyCFunction_New(&can_be_held_definition, facts);
    return PyErr_SetString(PyExc_TypeError, "held_by(by_class, agent_of, asked)"), NULL;
}

/* agent_of(by_attributes, by_own_name, inherited, identities, of_objects, asked): a function that asks `asked` where these do not tell. */
static PyObject *agent_of(PyObject *Py_UNUSED(module), PyObject *facts) {
    int is_right = PyTuple_GET_SIZE(facts) == ASKED + 1;
    for (int i = 0; is_right && i < ASKED; i++) is_right = PyDict_CheckExact(PyTuple_GET_ITEM(facts, i));
    if (is_right) return PyCFunction_New(&agent_of_definition, facts);
    PyErr_SetString(PyExc_TypeError, "agent_of(by_attributes, by_own_name, inherited, identities, of_objects, asked)");
    return NULL;
}

/* ---- watched functions ---- */

/* Every call of a C function reads from the function's definition what is to be run. There a stand-in takes the place
   of each watched one: it tells the hook of its thread, if there is one, and goes on to the original. So a watched
   call is seen by whatever name and from wherever it is made, and every other call costs what it always does, where
   a profile hook makes each instruction of its thread slower. */
enum { MAX_WATCHED = 24 };
typedef PyObject *(*Fast)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*FastKeywords)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef void (*Any)(void);

typedef struct {
    PyMethodDef *definition;
    Any original;
    PyObject *callable; /* a function of a module; NULL of a method */
    int draws, seeds;
} Watched;

static Watched WATCHED[MAX_WATCHED];
static int watched_count;
static PyObject *OWN, *NOT_OWN, *NAME; /* prefixes of module names */
static PyObject *HIDDEN, *TOUCHED;     /* a generator, and who is told before it is next drawn from or seeded */
static PyObject *ANSWERER;             /* who may say what a source gives, in the place of the source */
static _Thread_local PyObject *ANSWER;
static _Thread_local PyObject *HOOK, *KNOWN;
static _Thread_local int is_telling;

/* Whether the code that runs is the package's own, on whose behalf nothing is told. */
static int is_own(void) {
    PyObject *globals = PyEval_GetGlobals(); /* borrowed */
    PyObject *name = globals == NULL ? NULL : PyDict_GetItemWithError(globals, NAME);
    return name != NULL && PyUnicode_Check(name) && PyUnicode_Tailmatch(name, OWN, 0, PY_SSIZE_T_MAX, -1) == 1 &&
           PyUnicode_Tailmatch(name, NOT_OWN, 0, PY_SSIZE_T_MAX, -1) == 0;
}

static int is_known(PyObject *generator) {
    if (KNOWN == NULL) return 0;
    PyObject *identity = PyLong_FromVoidPtr(generator);
    int known = identity == NULL ? -1 : PyDict_Contains(KNOWN, identity);
    Py_XDECREF(identity);
    return known;
}

static int tell_call(const Watched *watched, PyObject *self) {
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */
    if (frame == NULL) return 1;
    PyObject *callable = watched->callable, *told = NULL, *hook = Py_NewRef(HOOK);
    callable = callable != NULL ? Py_NewRef(callable) : PyCFunction_NewEx(watched->definition, self, NULL);
    is_telling = 1;
    if (callable != NULL)
        told = PyObject_CallFunction(hook, "OsO", frame, watched->seeds ? "call" : "c_call", callable);
    is_telling = 0;
    Py_DECREF(hook);
    Py_XDECREF(callable);
    Py_XDECREF(told);
    return told != NULL;
}

/* Whether somebody answers in the place of a source: 2 with ANSWER, 1 to go on, 0 with an exception. */
static int answered(const Watched *watched, PyObject *self) {
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */
    if (frame == NULL || PyErr_Occurred() != NULL) return 1;
    PyObject *callable = watched->callable, *answerer = Py_NewRef(ANSWERER), *answer = NULL;
    callable = callable != NULL ? Py_NewRef(callable) : PyCFunction_NewEx(watched->definition, self, NULL);
    is_telling = 1;
    if (callable != NULL) answer = PyObject_CallFunctionObjArgs(answerer, callable, (PyObject *)frame, NULL);
    is_telling = 0;
    Py_DECREF(answerer);
    Py_XDECREF(callable);
    if (answer == NULL) return 0;
    if (answer != Py_None) {
        ANSWER = answer;
        return 2;
    }
    Py_DECREF(answer);
    return 1;
}

/* 1 to go on, 0 with an exception, 2 with ANSWER; `is_bare` where there are no arguments. */
static int told(int number, PyObject *self, int is_bare) {
    const Watched *watched = &WATCHED[number];
    if (TOUCHED != NULL && self == HIDDEN) {
        PyObject *touched = TOUCHED;
        TOUCHED = NULL;
        PyObject *answer = PyObject_CallNoArgs(touched);
        Py_DECREF(touched);
        if (answer == NULL) return 0;
        Py_DECREF(answer);
    }
    if (is_telling) return 1;
    if (ANSWERER != NULL && is_bare && !watched->draws && !watched->seeds && !is_own()) {
        int found = answered(watched, self);
        if (found != 1) return found;
    }
    if (HOOK == NULL) return 1;
    if (watched->draws) {
        int known = is_known(self);
        if (known != 0) return known > 0;
    }
    if (!watched->seeds && is_own()) return 1;
    return PyErr_Occurred() == NULL && tell_call(watched, self);
}

/* A stand-in has no place for data, so that there is one for each number, of each way to be called. */
#define GIVEN(n, is_bare, original)                                   \
    int found = told(n, self, is_bare);                               \
    if (found == 1) return original;                                  \
    PyObject *answer = found == 2 ? ANSWER : NULL;                    \
    ANSWER = NULL;                                                    \
    return answer;
#define STAND_INS(n)                                                                                             \
    static PyObject *plain_##n(PyObject *self, PyObject *given) {                                                \
        GIVEN(n, given == NULL, ((PyCFunction)WATCHED[n].original)(self, given))                                 \
    }                                                                                                            \
    static PyObject *keywords_##n(PyObject *self, PyObject *given, PyObject *named) {                            \
        GIVEN(n, PyTuple_GET_SIZE(given) == 0 && named == NULL,                                                  \
              ((PyCFunctionWithKeywords)WATCHED[n].original)(self, given, named))                                \
    }                                                                                                            \
    static PyObject *fast_##n(PyObject *self, PyObject *const *given, Py_ssize_t count) {                        \
        GIVEN(n, count == 0, ((Fast)WATCHED[n].original)(self, given, count))                                    \
    }                                                                                                            \
    static PyObject *fast_keywords_##n(PyObject *self, PyObject *const *given, Py_ssize_t count, PyObject *named) { \
        GIVEN(n, count == 0 && named == NULL, ((FastKeywords)WATCHED[n].original)(self, given, count, named))    \
    }
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16) \
    M(17) M(18) M(19) M(20) M(21) M(22) M(23)
EACH(STAND_INS)
#define IN_PLACE(n) {(Any)plain_##n, (Any)keywords_##n, (Any)fast_##n, (Any)fast_keywords_##n},
static const Any STAND_IN[MAX_WATCHED][4] = {EACH(IN_PLACE)};

static PyMethodDef *definition_of(PyObject *function) {
    if (PyCFunction_Check(function)) return ((PyCFunctionObject *)function)->m_ml;
    if (Py_IS_TYPE(function, &PyMethodDescr_Type) || Py_IS_TYPE(function, &PyClassMethodDescr_Type))
        return ((PyMethodDescrObject *)function)->d_method;
    return NULL;
}

/* Which of the stand-ins is called the same way; -1 for none. */
static int way_of(const PyMethodDef *definition) {
    switch (definition->ml_flags & ~(METH_CLASS | METH_STATIC | METH_COEXIST)) {
    case METH_NOARGS:
    case METH_O:
    case METH_VARARGS: return 0;
    case METH_VARARGS | METH_KEYWORDS: return 1;
    case METH_FASTCALL: return 2;
    case METH_FASTCALL | METH_KEYWORDS: return 3;
    default: return -1;
    }
}

enum { READS, DRAWS, SEEDS };

/* Put stand-ins in the places of these functions; 0 where one cannot be replaced. */
static int replace(PyObject *functions, int sort) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(functions); i++) {
        PyObject *function = PyTuple_GET_ITEM(functions, i);
        PyMethodDef *definition = definition_of(function);
        int way = definition == NULL ? -1 : way_of(definition), is_there = 0;
        for (int j = 0; j < watched_count && !is_there; j++) is_there = WATCHED[j].definition == definition;
        if (is_there) continue;
        if (way < 0 || watched_count == MAX_WATCHED) return 0;
        Watched *watched = &WATCHED[watched_count];
        watched->definition = definition;
        watched->original = (Any)definition->ml_meth;
        watched->callable = PyCFunction_Check(function) && sort == READS ? Py_NewRef(function) : NULL;
        watched->draws = sort == DRAWS;
        watched->seeds = sort == SEEDS;
        definition->ml_meth = (PyCFunction)STAND_IN[watched_count++][way];
    }
    return 1;
}

/* set_watched(functions, drawing, seeding, own, not_own, hidden): what hooks are told of from here on: calls of the
   functions, and of the methods of generators, unless a module whose name begins with `own`, and not with `not_own`,
   makes them. False where one of them cannot be watched this way. */
static PyObject *set_watched(PyObject *Py_UNUSED(module), PyObject *arguments) {
    PyObject *functions, *drawing, *seeding, *own, *not_own, *hidden;
    if (!PyArg_ParseTuple(arguments, "O!O!O!UUO", &PyTuple_Type, &functions, &PyTuple_Type, &drawing, &PyTuple_Type,
                          &seeding, &own, &not_own, &hidden))
        return NULL;
    Py_XSETREF(OWN, Py_NewRef(own));
    Py_XSETREF(NOT_OWN, Py_NewRef(not_own));
    Py_XSETREF(HIDDEN, Py_NewRef(hidden));
    if (NAME == NULL && (NAME = PyUnicode_InternFromString("__name__")) == NULL) return NULL;
    return PyBool_FromLong(replace(functions, READS) && replace(drawing, DRAWS) && replace(seeding, SEEDS));
}

/* watch_calls(hook, known): have this thread tell a hook, as a profile hook is told; None ends that. Draws from
   generators whose ids are keys of `known`, a dict or None, are not told. */
static PyObject *watch_calls(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !(given[1] == Py_None || PyDict_Check(given[1]))) {
        PyErr_SetString(PyExc_TypeError, "a hook and a dict");
        return NULL;
    }
    Py_XSETREF(HOOK, given[0] == Py_None ? NULL : Py_NewRef(given[0]));
    Py_XSETREF(KNOWN, given[1] == Py_None ? NULL : Py_NewRef(given[1]));
    Py_RETURN_NONE;
}

/* told_hook(): the hook that this thread tells now, or None. */
static PyObject *told_hook(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing)) {
    return Py_NewRef(HOOK == NULL ? Py_None : HOOK);
}

/* answer_reads(function): have it say what a source gives that is read without arguments, from whatever place; it takes
   the function that is called and the frame, and gives the answer, or None to let the source be read. None ends that. */
static PyObject *answer_reads(PyObject *Py_UNUSED(module), PyObject *function) {
    Py_XSETREF(ANSWERER, function == Py_None ? NULL : Py_NewRef(function));
    Py_RETURN_NONE;
}

/* before_touch(function): have it called once, before anybody draws from the hidden generator or seeds it. */
static PyObject *before_touch(PyObject *Py_UNUSED(module), PyObject *function) {
    Py_XSETREF(TOUCHED, function == Py_None ? NULL : Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_watched", set_watched, METH_VARARGS, "Which C functions `watch_calls` is about."},
    {"watch_calls", (PyCFunction)(void (*)(void))watch_calls, METH_FASTCALL,
     "Like `sys.setprofile`, but told of watched calls alone."},
    {"told_hook", told_hook, METH_NOARGS, "What `watch_calls` was given in this thread."},
    {"answer_reads", answer_reads, METH_O, "Who answers in the place of a watched function without arguments."},
    {"before_touch", before_touch, METH_O, "What is called before the hidden generator changes."},
    {"stamped", (PyCFunction)(void (*)(void))stamped, METH_FASTCALL, "A whole line, and the id that stands in it."},
    {"held", held, METH_O, "All objects in plain arguments; None where none of them can change."},
    {"are_few_scalars", are_few_scalars, METH_O, "Whether each attribute is a short scalar that is shown unchanged."},
    {"digester", digester, METH_VARARGS, "A function that digests objects of few short scalars."},
    {"still_holds", (PyCFunction)(void (*)(void))still_holds, METH_FASTCALL, "Whether arguments hold those very objects."},
    {"unlike_before", (PyCFunction)(void (*)(void))unlike_before, METH_FASTCALL,
     "Those held objects that may differ from their last look."},
    {"same_content", (PyCFunction)(void (*)(void))same_content, METH_FASTCALL,
     "Whether a value surely has the content of a copy; False where Python has to say."},
    {"moved", moved, METH_O, "The places of those agents that hold something else than their mark."},
    {"differing", (PyCFunction)(void (*)(void))differing, METH_FASTCALL,
     "The items of a state that are neither the scalars recorded last nor ignored; None for no change at all."},
    {"tag_numbers", (PyCFunction)(void (*)(void))tag_numbers, METH_FASTCALL, "Have numbers of a type stand as Python's."},
    {"random_mark", random_mark, METH_O, "The first word of a `random.Random`, and the place of the next; None where they cannot be read."},
    {"numpy_mark", numpy_mark, METH_O, "Where a generator of numpy with a PCG64 or an MT19937 stands; None for others."},
    {"random_words", random_words, METH_O, "All words of a `random.Random`, and the place of the next; None where they cannot be read."},
    {"shown", (PyCFunction)(void (*)(void))shown, METH_FASTCALL, "The attributes that the form of an object shows."},
    {"in_slots", (PyCFunction)(void (*)(void))in_slots, METH_FASTCALL, "The values in the slots of an object."},
    {"fields_named", (PyCFunction)(void (*)(void))fields_named, METH_FASTCALL, "The attributes that need not be computed, or None."},
    {"attributes_named", (PyCFunction)(void (*)(void))attributes_named, METH_FASTCALL, "Those of some attributes that an object has."},
    {"perhaps", (PyCFunction)(void (*)(void))perhaps, METH_FASTCALL, "The items of a dict but those of types that are ruled out."},
    {"holds_any", (PyCFunction)(void (*)(void))holds_any, METH_FASTCALL, "Whether a container holds an object of one of these classes."},
    {"words_text", words_text, METH_O, "The words that `random_words` gave, in decimal, with commas between them."},
    {"held_by", held_by, METH_VARARGS, "A function that says which values are objects that others may change."},
    {"holds_none", (PyCFunction)(void (*)(void))holds_none, METH_FASTCALL, "Whether surely no value of a dict is followed."},
    {"agent_of", agent_of, METH_VARARGS, "A function that says which objects are agents."},
    {"looks_up_plainly", looks_up_plainly, METH_O, "Whether attributes of a class's objects are looked up as of most objects."},
    {"class_version", class_version, METH_O, "A number that no other set of attributes of a class has; 0 for none."},
    {"attributes_version", (PyCFunction)(void (*)(void))attributes_version, METH_FASTCALL,
     "A number that no other dict has had, for the `__dict__` of an object; 0 for any other."},
    {"named_form", (PyCFunction)(void (*)(void))named_form, METH_FASTCALL,
     "What the digest of an agent's fields is taken over, and the names of the opaque ones; None where Python has to look."},
    {"count_members", count_members, METH_O, "How many members a container and those in it have; 0 for any other value."},
    {"whole", (PyCFunction)(void (*)(void))whole, METH_FASTCALL, "All objects in a value and in its objects; None where something in it may change unseen."},
    {"parts_within", (PyCFunction)(void (*)(void))parts_within, METH_FASTCALL, "The ids of what may change in values, or whether one is known."},
    {"mark", (PyCFunction)(void (*)(void))mark, METH_FASTCALL, "What stays the same while a value and all in it do, or None."},
    {"is_whole", (PyCFunction)(void (*)(void))is_whole, METH_FASTCALL, "Whether a value and its objects hold those very objects."},
    {"learn_pass", learn_pass, METH_VARARGS, "What `run_pass` uses of the module that digests contents."},
    {"run_pass", (PyCFunction)(void (*)(void))run_pass, METH_FASTCALL, "A pass over the content of a value."},
    {"part_at", (PyCFunction)(void (*)(void))part_at, METH_FASTCALL, "What a JSON Pointer leads to; None where Python has to look."},
    {"copied", (PyCFunction)(void (*)(void))copied_by, METH_FASTCALL, "A value as plain JSON, whose tags a short walk notes."},
    {"most_needed", most_needed, METH_O, "How many bytes orjson may need for a value; -1 where Python has to count."},
    {"snapshot", snapshot, METH_O, "All objects in a value; None where something in it may change unseen."},
    {"still_is", (PyCFunction)(void (*)(void))still_is, METH_FASTCALL, "Whether a value holds those very objects."},
    {"judge_types", (PyCFunction)(void (*)(void))judge_types, METH_FASTCALL, "Who says which objects stay what they are."},
    {"learn", learn, METH_O, "Where the slots of the classes of a traced call are."},
    {"new_reads", new_reads, METH_O, "The reads of a call of that function, none yet."},
    {"quicken", quicken, METH_O, "Have the calls of this class end here."},
    {NULL, NULL, 0, NULL},
};

/* The classes, words and hooks above stand once in the process: a second copy of the package, imported anew or in another
   interpreter, would change them under the first. It does without, in Python. */
static int is_taken;

static int fill_module(PyObject *self) {
    if (is_taken) {
        PyErr_SetString(PyExc_ImportError, "another copy of the package in this process uses the native part");
        return -1;
    }
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL || PyType_Ready(&judge_type) < 0 || !make_words() || !make_words_of_walk()) return -1;
    fill_tables();
    PyObject *collections = PyImport_ImportModule("collections");
    if (collections == NULL) return -1;
    DEFAULTDICT = (PyTypeObject *)PyObject_GetAttrString(collections, "defaultdict");
    DEQUE = (PyTypeObject *)PyObject_GetAttrString(collections, "deque");
    Py_DECREF(collections);
    if (DEFAULTDICT == NULL || DEQUE == NULL) return -1;
    if ((UNCHANGING = PyDict_New()) == NULL || (NUMBER_TAGS = PyDict_New()) == NULL) return -1;
    TAG_TUPLE = PyUnicode_InternFromString("tuple");
    TAG_UUID = PyUnicode_InternFromString("uuid");
    W_is_safe = PyUnicode_InternFromString("is_safe");
    TAG_DATETIME = PyUnicode_InternFromString("datetime");
    TAG_DATE = PyUnicode_InternFromString("date");
    TAG_OPAQUE = PyUnicode_InternFromString("opaque");
    if (!TAG_TUPLE || !TAG_UUID || !TAG_DATETIME || !TAG_DATE || !TAG_OPAQUE || !W_is_safe) return -1;
    static const char *const marks[4] = {"~", "~0", "/", "~1"};
    for (int i = 0; i < 4; i++)
        if ((MARKS[i] = PyUnicode_InternFromString(marks[i])) == NULL) return -1;
    if (PyModule_AddObjectRef(self, "Judge", (PyObject *)&judge_type) < 0
        || PyModule_AddObjectRef(self, "Lane", (PyObject *)&lane_type) < 0
        || PyModule_AddObjectRef(self, "Opener", (PyObject *)&opener_type) < 0
        || PyModule_AddObjectRef(self, "Draw", (PyObject *)&draw_type) < 0)
        return -1;
    is_taken = 1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0, .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }

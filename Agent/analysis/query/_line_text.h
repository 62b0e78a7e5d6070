/* The JSON of a line: its head, texts, numbers and values, without spaces between tokens. */

enum { MOST_DIGITS = 18, MOST_DEPTH = 250 }; /* an event has at most 254 levels, two of them around a value */

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
    int leap = (year - 1969) / 4; /* from 1970 to 2099 every fourth year is a leap year */
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

/* The length of the non-ASCII UTF-8 character at `at`; 0 if it is invalid. */
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

/* The closing quote of a text whose opening quote is just before `at`; NULL if the text is invalid. */
static const char *text_end(const char *at, const char *end, int *escaped) {
    const uint64_t ONES = 0x0101010101010101u, HIGH = 0x8080808080808080u;
    for (;;) {
        while (end - at >= 8) {
            uint64_t eight, quotes, slashes;
            memcpy(&eight, at, 8);
            quotes = eight ^ ONES * '"';
            slashes = eight ^ ONES * '\\';
            /* quotes, backslashes, control characters and non-ASCII bytes; only the first match is exact */
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

/* The end of a number that certainly fits into a double; NULL for anything else. */
static const char *number_end(const char *at, const char *end, int *is_whole) {
    const char *from = at;
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
        if (at - first > 2 && first[-1] != '-') return NULL; /* it may exceed the range of a double */
    }
    return at - from > 300 ? NULL : at;
}

static const char *literal_end(const char *at, const char *end) {
    if (end - at >= 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) return at + 4;
    if (end - at >= 5 && memcmp(at, "false", 5) == 0) return at + 5;
    return NULL;
}

/* The end of a value without spaces between its tokens; NULL if it is invalid or not compact. */
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
    *value = (double)mantissa / TENS[behind]; /* both are exact, so the result is rounded only once */
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
    /* another locale may have another decimal point, and DuckDB does not accept numbers that are too large */
    return errno == 0 && *stopped == 0;
}


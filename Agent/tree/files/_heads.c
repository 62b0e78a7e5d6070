/* How far a file consists of lines that begin as this package's own do, whether its bytes are plain text, and the write
   of a line.

   Accelerators. What begins so needs no look at its number, its time and its version row by row: that may be wrong
   in one direction only, a line that it does not know is looked at by whoever asks. What is plain is the same as in
   `lines.py`, to the byte. The write is `descriptors.write_own`. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, MOST_DIGITS = 18 };

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

/* {"timestamp":"2026-11-20T10:30:45.000002Z","id":"sfhtuqh7-3","schema_version":1, ... } */
static int is_regular(const char *line, const char *end, int newest_schema) {
    static const char FIRST[] = "{\"timestamp\":\"", SECOND[] = "Z\",\"id\":\"", THIRD[] = "\",\"schema_version\":";
    enum { TIME_AT = sizeof FIRST - 1, ID_AT = TIME_AT + 26 + sizeof SECOND - 1, SEQ_AT = ID_AT + 9 };
    if (end - line < SEQ_AT + 2 || end[-1] != '}') return 0;
    if (memcmp(line, FIRST, sizeof FIRST - 1) != 0) return 0;
    const char *time = line + TIME_AT;
    if (time[4] != '-' || time[7] != '-' || time[10] != 'T' || time[13] != ':' || time[16] != ':' || time[19] != '.')
        return 0;
    if (!is_date(digits(time, 4), digits(time + 5, 2), digits(time + 8, 2))) return 0;
    int hour = digits(time + 11, 2), minute = digits(time + 14, 2), second = digits(time + 17, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
    if (digits(time + 20, 6) < 0 || memcmp(time + 26, SECOND, sizeof SECOND - 1) != 0) return 0;
    for (const char *at = line + ID_AT; at < line + SEQ_AT - 1; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9'))) return 0;
    if (line[SEQ_AT - 1] != '-') return 0;
    const char *at = line + SEQ_AT;
    while (at < end && *at >= '0' && *at <= '9') at++;
    if (at == line + SEQ_AT || at - line > SEQ_AT + MOST_DIGITS) return 0;
    if (line[SEQ_AT] == '0' && at > line + SEQ_AT + 1) return 0;
    if (end - at < (Py_ssize_t)sizeof THIRD + 1 || memcmp(at, THIRD, sizeof THIRD - 1) != 0) return 0;
    at += sizeof THIRD - 1;
    return *at >= '1' && *at <= '0' + newest_schema && at[1] == ',';
}

/* The end of the last line of a file from which on, up to `size`, something else follows; -1 with errno. */
static Py_ssize_t read_lines(int fd, Py_ssize_t offset, Py_ssize_t size, int newest_schema, char *buffer) {
    Py_ssize_t held = 0;
    while (offset + held < size) {
        Py_ssize_t wanted = size - offset - held;
        if (wanted > BUFFER_BYTES - held) wanted = BUFFER_BYTES - held;
        ssize_t got = pread(fd, buffer + held, (size_t)wanted, offset + held);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        held += got;
        const char *line = buffer, *end;
        while ((end = memchr(line, '\n', (size_t)(buffer + held - line))) != NULL) {
            if (!is_regular(line, end, newest_schema)) return offset + (line - buffer);
            line = end + 1;
        }
        if (line == buffer && held == BUFFER_BYTES) return offset; /* a line of more than the buffer */
        held -= line - buffer;
        offset += line - buffer;
        memmove(buffer, line, (size_t)held);
    }
    return offset;
}

static PyObject *regular_bytes(PyObject *Py_UNUSED(module), PyObject *arguments) {
    int fd, newest_schema;
    Py_ssize_t offset, size;
    if (!PyArg_ParseTuple(arguments, "inni", &fd, &offset, &size, &newest_schema)) return NULL;
    if (newest_schema < 1 || newest_schema > 9) {
        PyErr_SetString(PyExc_ValueError, "a version of one digit is known");
        return NULL;
    }
    char *buffer = PyMem_RawMalloc(BUFFER_BYTES);
    if (buffer == NULL) return PyErr_NoMemory();
    Py_ssize_t reached;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    reached = read_lines(fd, offset, size, newest_schema, buffer);
    failed = errno;
    Py_END_ALLOW_THREADS
    PyMem_RawFree(buffer);
    if (reached < 0) {
        errno = failed;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromSsize_t(reached);
}

enum { ODD = -1 };

/* What UTF-8 allows after a byte at which no character is open: how many bytes follow, and the range of the next. */
static int opened(unsigned char byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return 1 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xE0) return 2 | 0xA0 << 8 | 0xBF << 16;
    if (byte == 0xED) return 2 | 0x80 << 8 | 0x9F << 16; /* no surrogates */
    if (byte >= 0xE1 && byte <= 0xEF) return 2 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xF0) return 3 | 0x90 << 8 | 0xBF << 16;
    if (byte >= 0xF1 && byte <= 0xF3) return 3 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xF4) return 3 | 0x80 << 8 | 0x8F << 16;
    return ODD;
}

/* The state after a byte: 0 between characters, `opened` within one, ODD after what is no plain text. */
static int after(int state, unsigned char byte) {
    if (state > 0) {
        if (byte < (state >> 8 & 0xFF) || byte > (state >> 16 & 0xFF)) return ODD;
        int left = (state & 0xFF) - 1;
        return left ? left | 0x80 << 8 | 0xBF << 16 : 0;
    }
    if (byte >= 0x80) return opened(byte);
    return byte <= 2 || byte == '\r' ? ODD : 0;
}

typedef struct {
    Py_ssize_t newlines, first, last;
    int state;
} Marks;

static void mark_bytes(const unsigned char *bytes, Py_ssize_t size, Marks *marks) {
    const uint64_t HIGH = 0x8080808080808080u, LOW = ~HIGH, BELOW_SPACE = 0x6060606060606060u;
    Py_ssize_t at = 0;
    while (at < size) {
        if (marks->state == 0) {
            uint64_t eight;
            /* eight at a time, while all are ASCII and none stands before the space: there bit 7 of the sum is set */
            while (size - at >= 8) {
                memcpy(&eight, bytes + at, 8);
                if ((eight & HIGH) || (((eight & LOW) + BELOW_SPACE) & HIGH) != HIGH) break;
                at += 8;
            }
        }
        Py_ssize_t until = size - at < 8 ? size : at + 8;
        for (; at < until; at++) {
            if (bytes[at] == '\n') {
                if (marks->newlines++ == 0) marks->first = at;
                marks->last = at;
            }
            if (marks->state != ODD) marks->state = after(marks->state, bytes[at]);
        }
    }
}

static PyObject *marks_of(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer chunk;
    Marks marks = {.first = -1, .last = -1};
    if (!PyArg_ParseTuple(arguments, "y*i", &chunk, &marks.state)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    mark_bytes(chunk.buf, chunk.len, &marks);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&chunk);
    return Py_BuildValue("nnni", marks.newlines, marks.first, marks.last, marks.state);
}

static long own_flags = -1; /* what the system tells of the descriptors of log files; -1 where nothing is compared */

static PyObject *know_flags(PyObject *Py_UNUSED(module), PyObject *flags) {
    long known = PyLong_AsLong(flags);
    if (known == -1 && PyErr_Occurred()) return NULL;
    own_flags = known;
    Py_RETURN_NONE;
}

/* `os.write` into a descriptor that has the flags of a log file; into another OSError(EBADF), and no byte. */
static PyObject *write_own(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "write_own(fd, data)");
        return NULL;
    }
    long fd = PyLong_AsLong(arguments[0]);
    Py_buffer data;
    if ((fd == -1 && PyErr_Occurred()) || PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t written = -1;
    int failed = EBADF;
    do {
        /* Under the interpreter's lock: until it is let go, no Python of another thread closes the descriptor. */
        if (own_flags >= 0 && fcntl((int)fd, F_GETFL) != own_flags) break;
        Py_BEGIN_ALLOW_THREADS
        written = write((int)fd, data.buf, (size_t)data.len);
        failed = errno;
        Py_END_ALLOW_THREADS
    } while (written < 0 && failed == EINTR && PyErr_CheckSignals() == 0);
    PyBuffer_Release(&data);
    if (written >= 0) return PyLong_FromSsize_t(written);
    if (PyErr_Occurred()) return NULL;
    errno = failed;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef functions[] = {
    {"regular_bytes", regular_bytes, METH_VARARGS,
     "regular_bytes(fd, offset, size, newest_schema): up to where, from a line's beginning on, lines are regular."},
    {"marks_of", marks_of, METH_VARARGS,
     "marks_of(chunk, state): newlines, where the first and the last stands, and the state for the next chunk."},
    {"write_own", (PyCFunction)(void (*)(void))write_own, METH_FASTCALL,
     "write_own(fd, data): os.write into a log file; OSError(EBADF) and no byte into what has other flags."},
    {"know_flags", know_flags, METH_O, "know_flags(flags): what the system tells of a log file's descriptor; -1: nothing."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&module); }

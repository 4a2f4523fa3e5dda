// SPDX-License-Identifier: MIT
// A C# program that does with mutexes, events and semaphores what it is told, one step a line of words between tabs, as
// locks.c does in C: STEP, VARIABLE, ARGUMENTS. It answers "=value", or "!" and the name of the exception.
using System;
using System.Collections.Generic;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Text;
using System.Threading;

static class Locks
{
    static readonly Dictionary<string, WaitHandle> handles = new Dictionary<string, WaitHandle>();

    static WaitHandle[] All(string names)
    {
        return Array.ConvertAll(names.Split(','), each => handles[each]);
    }

    static string Do(string[] step)
    {
        bool created = true;
        string v = step[1];
        switch (step[0])
        {
            case "mutex": handles[v] = new Mutex(step[3] == "1", step[2], out created); return created ? "1" : "0";
            case "event": // state, whether it is reset by hand
                handles[v] = new EventWaitHandle(step[3] == "1",
                    step[4] == "1" ? EventResetMode.ManualReset : EventResetMode.AutoReset, step[2], out created);
                return created ? "1" : "0";
            case "semaphore":
                handles[v] = new Semaphore(int.Parse(step[3]), int.Parse(step[4]), step[2], out created);
                return created ? "1" : "0";
            case "open_mutex": handles[v] = Mutex.OpenExisting(step[2]); return "";
            case "open_event": handles[v] = EventWaitHandle.OpenExisting(step[2]); return "";
            case "open_semaphore": handles[v] = Semaphore.OpenExisting(step[2]); return "";
            case "wait": return handles[v].WaitOne(int.Parse(step[2])) ? "1" : "0";
            case "wait_any": return WaitHandle.WaitAny(All(v), int.Parse(step[2])).ToString();
            case "wait_all": return WaitHandle.WaitAll(All(v), int.Parse(step[2])) ? "1" : "0";
            case "release": ((Mutex)handles[v]).ReleaseMutex(); return "";
            case "set": ((EventWaitHandle)handles[v]).Set(); return "";
            case "reset": ((EventWaitHandle)handles[v]).Reset(); return "";
            case "give": return ((Semaphore)handles[v]).Release(int.Parse(step[2])).ToString();
            case "close": handles[v].Dispose(); return "";
            case "count": return Count(v, step[2], int.Parse(step[3]));
            default: throw new ArgumentException(step[0]);
        }
    }

    // Adds one to the first number of a map, so many times, each under the mutex.
    static string Count(string mutex, string map, int rounds)
    {
        using (var file = MemoryMappedFile.OpenExisting(map))
        using (var view = file.CreateViewAccessor())
            for (int i = 0; i < rounds; i++)
            {
                handles[mutex].WaitOne();
                int value = view.ReadInt32(0);
                Thread.SpinWait(value % 7 == 0 ? 200 : 1);
                view.Write(0, value + 1);
                ((Mutex)handles[mutex]).ReleaseMutex();
            }
        return "";
    }

    static void Main()
    {
        var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { NewLine = "\n", AutoFlush = true };
        for (string line; (line = input.ReadLine()) != null;)
        {
            try { output.WriteLine("=" + Do(line.Split('\t'))); }
            catch (Exception error) { output.WriteLine("!" + error.GetType().Name); }
        }
    }
}
